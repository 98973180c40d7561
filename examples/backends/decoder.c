/* The operators in C99: reads golden vectors, writes what it makes of them.

     python -m decoding.testing export vectors --format npy
     cc -std=c99 -O2 -o decoder decoder.c -lm
     ./decoder vectors
     python -m decoding.testing verify vectors

   For every line of vectors/cases.txt it reads vectors/<id>/<array>.npy and writes vectors/<id>/got.npy, or an
   empty vectors/<id>/refused where the arrays do not fit. Arrays are (N, C, H, W), doubles, rows before columns.
   Networks may have 32 layers, which read 8 each. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int n, c, h, w; double *at; } Array; /* at is NULL where the arrays did not fit */

static const Array refused = {0, 0, 0, 0, NULL};

enum { ARRAYS = 512, LAYERS = 32, JOINED = 8, TEXT = 256, LINE = 4096 };

static double *in_use[ARRAYS]; /* by the arrays of the case at hand */
static int in_use_count = 0;

static Array zeros(int n, int c, int h, int w) {
    Array a = {n, c, h, w, in_use_count < ARRAYS ? calloc((size_t)n * c * h * w + 1, sizeof(double)) : NULL};
    if (!a.at) { fprintf(stderr, "out of memory\n"); exit(2); }
    in_use[in_use_count++] = a.at;
    return a;
}

static void release(void) {
    while (in_use_count > 0) free(in_use[--in_use_count]);
}

static double *cell(Array a, int n, int c, int i, int j) {
    return a.at + (((size_t)n * a.c + c) * a.h + i) * a.w + j;
}

/* ---- operators ---- */

static Array correlate(Array x, Array f, Array bias, const int stride[2], const int pad[4]) {
    int h = x.h + pad[0] + pad[1] - f.h, w = x.w + pad[2] + pad[3] - f.w;
    if (x.c != f.c || bias.n != f.n || h < 0 || w < 0) return refused;
    Array y = zeros(x.n, f.n, h / stride[0] + 1, w / stride[1] + 1);
    for (int n = 0; n < y.n; n++) for (int k = 0; k < y.c; k++)
    for (int i = 0; i < y.h; i++) for (int j = 0; j < y.w; j++) {
        double sum = 0;
        for (int c = 0; c < x.c; c++) for (int u = 0; u < f.h; u++) for (int v = 0; v < f.w; v++) {
            int p = i * stride[0] + u - pad[0], q = j * stride[1] + v - pad[2];
            if (0 <= p && p < x.h && 0 <= q && q < x.w) sum += *cell(f, k, c, u, v) * *cell(x, n, c, p, q);
        }
        *cell(y, n, k, i, j) = sum + bias.at[k];
    }
    return y;
}

static Array pool(Array x, const int size[2], const int stride[2], const int pad[4], int average) {
    int h = x.h + pad[0] + pad[1] - size[0], w = x.w + pad[2] + pad[3] - size[1];
    if (h < 0 || w < 0) return refused;
    for (int side = 0; side < 4; side++) if (pad[side] >= size[side / 2]) return refused; /* a window that sees nothing */
    Array y = zeros(x.n, x.c, h / stride[0] + 1, w / stride[1] + 1);
    for (int n = 0; n < y.n; n++) for (int c = 0; c < y.c; c++)
    for (int i = 0; i < y.h; i++) for (int j = 0; j < y.w; j++) {
        double sum = 0, most = -HUGE_VAL;
        int inside = 0;
        for (int u = 0; u < size[0]; u++) for (int v = 0; v < size[1]; v++) {
            int p = i * stride[0] + u - pad[0], q = j * stride[1] + v - pad[2];
            if (p < 0 || p >= x.h || q < 0 || q >= x.w) continue;
            double value = *cell(x, n, c, p, q);
            sum += value, inside++;
            if (value > most || value != value) most = value;
        }
        *cell(y, n, c, i, j) = average ? sum / inside : most;
    }
    return y;
}

static Array relu(Array x, double leak) {
    Array y = zeros(x.n, x.c, x.h, x.w);
    for (size_t i = 0; i < (size_t)x.n * x.c * x.h * x.w; i++) y.at[i] = x.at[i] > 0 ? x.at[i] : leak * x.at[i];
    return y;
}

static Array softmax(Array x) {
    Array y = zeros(x.n, x.c, x.h, x.w);
    for (int n = 0; n < x.n; n++) for (int i = 0; i < x.h; i++) for (int j = 0; j < x.w; j++) {
        double most = -HUGE_VAL, sum = 0;
        for (int c = 0; c < x.c; c++) most = fmax(most, *cell(x, n, c, i, j));
        for (int c = 0; c < x.c; c++) sum += *cell(y, n, c, i, j) = exp(*cell(x, n, c, i, j) - most);
        for (int c = 0; c < x.c; c++) *cell(y, n, c, i, j) /= sum;
    }
    return y;
}

static Array substitute(Array z, Array f, const int stride[2]) {
    if (z.c != f.n) return refused;
    Array out = zeros(z.n, f.c, (z.h - 1) * stride[0] + f.h, (z.w - 1) * stride[1] + f.w);
    for (int n = 0; n < z.n; n++) for (int k = 0; k < z.c; k++)
    for (int i = 0; i < z.h; i++) for (int j = 0; j < z.w; j++)
    for (int c = 0; c < f.c; c++) for (int u = 0; u < f.h; u++) for (int v = 0; v < f.w; v++)
        *cell(out, n, c, i * stride[0] + u, j * stride[1] + v) += *cell(z, n, k, i, j) * *cell(f, k, c, u, v);
    return out;
}

static double kernel(double t, char mode) {
    t = fabs(t);
    if (mode == 'l') return t < 1 ? 1 - t : 0;                             /* bilinear */
    return t <= 1 ? ((3 * t - 5) * t * t + 2) / 2                          /* bicubic: Keys, a = -1/2 */
         : t < 2 ? (((5 - t) * t - 8) * t + 4) / 2 : 0;
}

/* the weight of cell i in pixel p of an axis of n cells */
static double weight(int p, int i, int n, int size, int stride, char mode) {
    int half = 2 * p - (size - 1);                            /* half pixels */
    if (p % stride >= size) return 0;                         /* between windows, which the pool never saw */
    if (mode == 'n') {                                        /* nearest, the later cell on a tie */
        int best = 0;
        for (int k = 1; k < n; k++) if (abs(half - 2 * stride * k) <= abs(half - 2 * stride * best)) best = k;
        return i == best;
    }
    double sum = 0;                                           /* ... 1 0 | 0 1 ... n-1 | n-1 n-2 ... */
    for (int m = -size - 2; m <= size + 2; m++)
        sum += kernel((half - 2.0 * stride * (2 * n * m + i)) / (2.0 * stride), mode)
             + kernel((half - 2.0 * stride * (2 * n * m - 1 - i)) / (2.0 * stride), mode);
    return sum;
}

static Array unpool(Array z, const int size[2], const int stride[2], const char *name) {
    char mode = !strcmp(name, "nearest") ? 'n' : !strcmp(name, "bilinear") ? 'l' : !strcmp(name, "bicubic") ? 'c' : 0;
    if (!mode) return refused;
    Array out = zeros(z.n, z.c, (z.h - 1) * stride[0] + size[0], (z.w - 1) * stride[1] + size[1]);
    for (int p = 0; p < out.h; p++) for (int i = 0; i < z.h; i++) {
        double down = weight(p, i, z.h, size[0], stride[0], mode);
        if (down == 0) continue;
        for (int q = 0; q < out.w; q++) for (int j = 0; j < z.w; j++) {
            double across = weight(q, j, z.w, size[1], stride[1], mode);
            for (int n = 0; n < z.n; n++) for (int c = 0; c < z.c; c++)
                *cell(out, n, c, p, q) += down * across * *cell(z, n, c, i, j);
        }
    }
    return out;
}

/* channels from `first` on */
static Array channels(Array x, int first, int count) {
    Array part = zeros(x.n, count, x.h, x.w);
    for (int n = 0; n < x.n && count; n++)
        memcpy(cell(part, n, 0, 0, 0), cell(x, n, first, 0, 0), (size_t)count * x.h * x.w * sizeof(double));
    return part;
}

/* the dense bank of filters in groups, with zeros between taps that are `dilation` apart */
static Array dense(Array f, int groups, const int dilation[2]) {
    Array bank = zeros(f.n, f.c * groups, (f.h - 1) * dilation[0] + 1, (f.w - 1) * dilation[1] + 1);
    for (int k = 0; k < f.n; k++) for (int c = 0; c < f.c; c++)
    for (int u = 0; u < f.h; u++) for (int v = 0; v < f.w; v++)
        *cell(bank, k, k / (f.n / groups) * f.c + c, u * dilation[0], v * dilation[1]) = *cell(f, k, c, u, v);
    return bank;
}

/* ---- branches ---- */

typedef struct { Array maps; int at[2]; } Placed; /* at.maps is `refused` where nothing has come yet */

static int least(int a, int b) { return a < b ? a : b; }
static int most(int a, int b) { return a > b ? a : b; }

/* the sum of both, each in its own place, on the smallest map that holds them */
static Placed add(Placed a, Placed b) {
    if (!a.maps.at) return b;
    const Placed parts[2] = {a, b};
    int top = least(a.at[0], b.at[0]), left = least(a.at[1], b.at[1]);
    int bottom = most(a.at[0] + a.maps.h, b.at[0] + b.maps.h), right = most(a.at[1] + a.maps.w, b.at[1] + b.maps.w);
    Placed sum = {zeros(a.maps.n, a.maps.c, bottom - top, right - left), {top, left}};
    for (int part = 0; part < 2; part++) {
        Array x = parts[part].maps;
        int down = parts[part].at[0] - top, across = parts[part].at[1] - left;
        for (int n = 0; n < x.n; n++) for (int c = 0; c < x.c; c++) for (int i = 0; i < x.h; i++) for (int j = 0; j < x.w; j++)
            *cell(sum.maps, n, c, i + down, j + across) += *cell(x, n, c, i, j);
    }
    return sum;
}

/* ---- files ---- */

static void join(char path[1024], const char *folder, const char *name) {
    if (snprintf(path, 1024, "%s/%s", folder, name) >= 1024) { fprintf(stderr, "too long: %s\n", path); exit(2); }
}

static Array load(const char *folder, const char *name) {
    char path[1024], file_name[72], header[4096] = "";
    unsigned char start[10];
    int sides[4] = {1, 1, 1, 1}, axes = 0;
    snprintf(file_name, sizeof file_name, "%s.npy", name);
    join(path, folder, file_name);
    FILE *file = fopen(path, "rb");
    if (!file || fread(start, 1, 10, file) != 10) { fprintf(stderr, "cannot read %s\n", path); exit(2); }
    size_t length = start[8] + 256u * start[9];
    if (length >= sizeof header || fread(header, 1, length, file) != length || !strstr(header, "'<f8'")) {
        fprintf(stderr, "%s is not an array of doubles\n", path); exit(2);
    }
    for (char *s = strchr(header, '(') + 1; *s && *s != ')' && axes < 4; axes++) {
        sides[axes] = (int)strtol(s, &s, 10);
        while (*s == ',' || *s == ' ') s++;
    }
    Array a = zeros(sides[0], sides[1], sides[2], sides[3]);
    size_t count = (size_t)a.n * a.c * a.h * a.w;
    if (fread(a.at, sizeof(double), count, file) != count) { fprintf(stderr, "%s is cut short\n", path); exit(2); }
    fclose(file);
    return a;
}

static void save(const char *folder, Array a) {
    char path[1024], header[128];
    join(path, folder, a.at ? "refused" : "got.npy");
    remove(path);                                              /* of an earlier run */
    join(path, folder, a.at ? "got.npy" : "refused");
    FILE *file = fopen(path, "wb");
    if (!file) { fprintf(stderr, "cannot write %s\n", path); exit(2); }
    if (a.at) {
        int length = snprintf(header, sizeof header,
            "{'descr': '<f8', 'fortran_order': False, 'shape': (%d, %d, %d, %d), }", a.n, a.c, a.h, a.w);
        memset(header + length, ' ', sizeof header - length);
        header[117] = '\n';                                    /* 10 + 118 bytes: a multiple of 64 */
        fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, file);
        fwrite(header, 1, 118, file);
        fwrite(a.at, sizeof(double), (size_t)a.n * a.c * a.h * a.w, file);
    }
    fclose(file);
}

/* key=1,2,3 or key=text among words that end in a space, a colon or the line */
static const char *find(const char *line, const char *key, char *text) {
    char wanted[64];
    const char *s;
    snprintf(wanted, sizeof wanted, "%s=", key);
    for (s = strstr(line, wanted); s && s != line && s[-1] != ' ' && s[-1] != ':'; s = strstr(s + 1, wanted)) {}
    if (s) snprintf(text, TEXT, "%.*s", (int)strcspn(s + strlen(wanted), " :\n"), s + strlen(wanted));
    return s;
}

/* how many there are, which is 0 where the line has no such key */
static int numbers(const char *line, const char *key, double *values, int most) {
    char text[TEXT], *s = text;
    int count = 0;
    if (find(line, key, text)) for (; *s && count < most; s += *s == ',') values[count++] = strtod(s, &s);
    return count;
}

static void integers(const char *line, const char *key, int *values, int count) {
    double found[4];
    if (numbers(line, key, found, count) != count) { fprintf(stderr, "no %s in: %s", key, line); exit(2); }
    for (int i = 0; i < count; i++) values[i] = (int)found[i];
}

static Array apply(const char *kind, const char *line, const char *folder, Array x) {
    int size[2], stride[2], pad[4];
    char text[TEXT];
    if (!strcmp(kind, "relu") || !strcmp(kind, "ReLU")) return find(line, "leak", text), relu(x, strtod(text, NULL));
    if (!strcmp(kind, "softmax") || !strcmp(kind, "Softmax")) return softmax(x);
    integers(line, "stride", stride, 2), integers(line, "pad", pad, 4);
    if (!strcmp(kind, "correlate")) return correlate(x, load(folder, "filters"), load(folder, "bias"), stride, pad);
    integers(line, "size", size, 2);
    return pool(x, size, stride, pad, !strcmp(kind, "avg_pool") || !strcmp(kind, "AvgPool"));
}

/* ---- networks ---- */

typedef struct {
    char kind[TEXT], words[TEXT];      /* "Conv" and "layer3=Conv:inputs=2:stride=1,1:pad=0,0,0,0:dilation=1,1:groups=1" */
    int reads[JOINED], read;           /* layers, 0 being the image; how many */
    double gain[TEXT];
    int gains, width;                  /* 0 gains where all are 1; channels */
    int stride[2], pad[4];
    Array filters, bias;
} Layer;

static int is(const Layer *layer, const char *kind) { return !strcmp(layer->kind, kind); }

/* layers 1, 2, … up to the count that is returned; layer 0 is the image */
static int network(const char *line, const char *folder, Layer *layers) {
    int l;
    double reads[JOINED];
    memset(layers, 0, (LAYERS + 1) * sizeof *layers);
    for (l = 1; l <= LAYERS; l++) {
        Layer *layer = &layers[l];
        char key[32];
        snprintf(key, sizeof key, "layer%d", l);
        const char *s = find(line, key, layer->kind);
        if (!s) break;
        snprintf(layer->words, TEXT, "%.*s", (int)strcspn(s, " \n"), s);
        layer->read = numbers(layer->words, "inputs", reads, JOINED);
        for (int i = 0; i < layer->read; i++) layer->reads[i] = (int)reads[i];
        layer->gains = numbers(layer->words, "gain", layer->gain, TEXT);
        layer->stride[0] = layer->stride[1] = 1;
        if (is(layer, "Conv") || strstr(layer->kind, "Pool"))
            integers(layer->words, "stride", layer->stride, 2), integers(layer->words, "pad", layer->pad, 4);
        if (is(layer, "Conv")) {
            int groups, dilation[2];
            integers(layer->words, "groups", &groups, 1), integers(layer->words, "dilation", dilation, 2);
            snprintf(key, sizeof key, "layer%d_filters", l);
            layer->filters = dense(load(folder, key), groups, dilation);
            snprintf(key, sizeof key, "layer%d_bias", l);
            layer->bias = load(folder, key);
            if (!layer->reads[0]) layers[0].width = layer->filters.c;
        }
    }
    for (int i = 1; i < l; i++) {
        Layer *layer = &layers[i];
        layer->width = is(layer, "Conv") ? layer->filters.n : layers[layer->reads[0]].width;
        for (int j = 1; j < layer->read && is(layer, "Concat"); j++) layer->width += layers[layer->reads[j]].width;
    }
    return l - 1;
}

static Array forward(const Layer *layers, int top, Array x) {
    Array at[LAYERS + 1] = {x};
    for (int l = 1; l <= top; l++) {
        const Layer *layer = &layers[l];
        Array below = at[layer->reads[0]];
        if (is(layer, "Sum")) {
            Placed sum = {below, {0, 0}};
            for (int i = 1; i < layer->read; i++) sum = add(sum, (Placed){at[layer->reads[i]], {0, 0}});
            at[l] = sum.maps;
        } else if (is(layer, "Concat")) {
            at[l] = zeros(below.n, layer->width, below.h, below.w);
            for (int n = 0; n < below.n; n++) for (int i = 0, first = 0; i < layer->read; first += at[layer->reads[i++]].c)
                memcpy(cell(at[l], n, first, 0, 0), cell(at[layer->reads[i]], n, 0, 0, 0),
                       (size_t)at[layer->reads[i]].c * below.h * below.w * sizeof(double));
        } else if (is(layer, "Conv")) {
            at[l] = correlate(below, layer->filters, layer->bias, layer->stride, layer->pad);
        } else {
            at[l] = apply(layer->kind, layer->words, NULL, below);
        }
        if (!at[l].at) return refused;
    }
    return at[top];
}

static Array decode(const Layer *layers, int top, int unit, const char *mode) {
    Placed at[LAYERS + 1] = {{refused, {0, 0}}};               /* what has come down to each layer */
    if (unit >= layers[top].width) return refused;
    at[top].maps = zeros(1, layers[top].width, 1, 1);
    at[top].maps.at[unit] = 1;
    for (int l = top; l > 0; l--) {
        const Layer *layer = &layers[l];
        Array z = at[l].maps;
        int size[2], first = 0;
        if (!z.at) continue;                                   /* on no path */
        for (int c = 0; c < layer->gains; c++)
            for (int i = 0; i < z.h * z.w; i++) cell(z, 0, c, 0, 0)[i] *= layer->gain[c];
        if (is(layer, "Conv")) z = substitute(z, layer->filters, layer->stride);
        if (strstr(layer->kind, "Pool")) integers(layer->words, "size", size, 2), z = unpool(z, size, layer->stride, mode);
        if (!z.at) return refused;
        for (int i = 0; i < layer->read; i++) {
            int below = layer->reads[i], width = is(layer, "Concat") ? layers[below].width : z.c;
            Placed part = {channels(z, first, width), {0, 0}};
            for (int a = 0; a < 2; a++) part.at[a] = at[l].at[a] * layer->stride[a] - layer->pad[2 * a];
            at[below] = add(at[below], part);
            if (is(layer, "Concat")) first += width;
        }
    }
    return at[0].maps;
}

static Array run(const char *line, const char *operator, const char *folder) {
    static Layer layers[LAYERS + 1];
    int size[2], stride[2], top, unit;
    char text[TEXT];
    if (!strcmp(operator, "substitute")) {
        integers(line, "stride", stride, 2);
        return substitute(load(folder, "maps"), load(folder, "filters"), stride);
    }
    if (!strcmp(operator, "unpool")) {
        integers(line, "size", size, 2), integers(line, "stride", stride, 2), find(line, "mode", text);
        return unpool(load(folder, "maps"), size, stride, text);
    }
    if (!strcmp(operator, "forward")) {
        top = network(line, folder, layers);
        return forward(layers, top, load(folder, "x"));
    }
    if (!strcmp(operator, "decode_filter")) {
        network(line, folder, layers);
        integers(line, "layer", &top, 1), integers(line, "k", &unit, 1), find(line, "mode", text);
        return decode(layers, top, unit, text);
    }
    return apply(operator, line, folder, load(folder, "x"));
}

int main(int count, char **words) {
    char path[1024], line[LINE], id[128], operator[64];
    if (count != 2) { fprintf(stderr, "usage: %s FOLDER\n", words[0]); return 2; }
    join(path, words[1], "cases.txt");
    FILE *file = fopen(path, "r");
    if (!file) { fprintf(stderr, "cannot read %s\n", path); return 2; }
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%127s %63s", id, operator) != 2) continue;
        join(path, words[1], id);
        save(path, run(line, operator, path));
        release();
    }
    fclose(file);
    return 0;
}
