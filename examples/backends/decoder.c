/* The operators in C99: reads golden vectors, writes what it makes of them.

     python -m decoding.testing export vectors --format npy
     cc -std=c99 -O2 -o decoder decoder.c -lm
     ./decoder vectors
     python -m decoding.testing verify vectors

   For every line of vectors/cases.txt it reads vectors/<id>/<array>.npy and writes vectors/<id>/got.npy, or an
   empty vectors/<id>/refused where the arrays do not fit. Arrays are (N, C, H, W), doubles, rows before columns. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int n, c, h, w; double *at; } Array; /* at is NULL where the arrays did not fit */

static const Array refused = {0, 0, 0, 0, NULL};

static double *in_use[64]; /* by the arrays of the case at hand */
static int in_use_count = 0;

static Array zeros(int n, int c, int h, int w) {
    Array a = {n, c, h, w, in_use_count < 64 ? calloc((size_t)n * c * h * w + 1, sizeof(double)) : NULL};
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
    if (s) snprintf(text, 64, "%.*s", (int)strcspn(s + strlen(wanted), " :\n"), s + strlen(wanted));
    return s;
}

static void integers(const char *line, const char *key, int *values, int count) {
    char text[64], *s = text;
    if (!find(line, key, text)) { fprintf(stderr, "no %s in: %s", key, line); exit(2); }
    for (int i = 0; i < count; i++, s++) values[i] = (int)strtol(s, &s, 10);
}

static Array apply(const char *kind, const char *line, const char *folder, const char *prefix, Array x) {
    int size[2], stride[2], pad[4];
    char text[64], name[64];
    if (!strcmp(kind, "relu") || !strcmp(kind, "ReLU")) return find(line, "leak", text), relu(x, strtod(text, NULL));
    if (!strcmp(kind, "softmax") || !strcmp(kind, "Softmax")) return softmax(x);
    integers(line, "stride", stride, 2), integers(line, "pad", pad, 4);
    if (!strcmp(kind, "correlate") || !strcmp(kind, "Conv")) {
        snprintf(name, sizeof name, "%sfilters", prefix);
        Array filters = load(folder, name);
        snprintf(name, sizeof name, "%sbias", prefix);
        return correlate(x, filters, load(folder, name), stride, pad);
    }
    integers(line, "size", size, 2);
    return pool(x, size, stride, pad, !strcmp(kind, "avg_pool") || !strcmp(kind, "AvgPool"));
}

/* the words "layer3=Conv:stride=1,1:pad=0,0,0,0" of layer 3 */
static int layer(const char *line, int number, char *kind, char *words) {
    char key[32];
    snprintf(key, sizeof key, "layer%d", number);
    const char *s = find(line, key, kind);
    if (s) snprintf(words, 256, "%.*s", (int)strcspn(s, " \n"), s);
    return s != NULL;
}

static Array run(const char *line, const char *operator, const char *folder) {
    int size[2], stride[2], top, unit;
    char text[64], kind[64], words[256], prefix[32];
    if (!strcmp(operator, "substitute")) {
        integers(line, "stride", stride, 2);
        return substitute(load(folder, "maps"), load(folder, "filters"), stride);
    }
    if (!strcmp(operator, "unpool")) {
        integers(line, "size", size, 2), integers(line, "stride", stride, 2), find(line, "mode", text);
        return unpool(load(folder, "maps"), size, stride, text);
    }
    if (!strcmp(operator, "forward")) {
        Array x = load(folder, "x");
        for (int l = 1; layer(line, l, kind, words); l++) {
            snprintf(prefix, sizeof prefix, "layer%d_", l);
            x = apply(kind, words, folder, prefix, x);
        }
        return x;
    }
    if (!strcmp(operator, "decode_filter")) {
        Array z = refused;
        integers(line, "layer", &top, 1), integers(line, "k", &unit, 1), find(line, "mode", text);
        for (int l = top; l > 0 && !z.at; l--) {               /* the units of a layer are those of the bank below */
            snprintf(prefix, sizeof prefix, "layer%d_filters", l);
            if (layer(line, l, kind, words) && !strcmp(kind, "Conv")) z = zeros(1, load(folder, prefix).n, 1, 1);
        }
        if (!z.at || unit >= z.c) return refused;
        z.at[unit] = 1;
        for (int l = top; l > 0; l--) {
            layer(line, l, kind, words);
            snprintf(prefix, sizeof prefix, "layer%d_filters", l);
            if (!strcmp(kind, "Conv")) integers(words, "stride", stride, 2), z = substitute(z, load(folder, prefix), stride);
            if (strstr(kind, "Pool"))
                integers(words, "size", size, 2), integers(words, "stride", stride, 2), z = unpool(z, size, stride, text);
        }
        return z;
    }
    return apply(operator, line, folder, "", load(folder, "x"));
}

int main(int count, char **words) {
    char path[1024], line[2048], id[128], operator[64];
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
