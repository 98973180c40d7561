// A picture that is shown smaller than it is opens in its own size.
window.addEventListener("load", () => {
  for (const image of document.querySelectorAll("article img"))
    if (image.naturalWidth > image.clientWidth && !image.closest("a")) {
      const link = document.createElement("a");
      link.href = image.src;
      link.title = "Open in full size";
      image.replaceWith(link);
      link.append(image);
    }
});

// Tables of more than three columns say above each cell, on a phone, which column it is of.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("table.docutils")) {
    const heads = [...table.querySelectorAll("thead th")].map((each) => each.textContent.trim());
    if (heads.length < 4) continue;
    table.classList.add("cards");
    if (heads.length > 6) table.classList.add("many");
    for (const row of table.querySelectorAll("tbody tr"))
      [...row.children].forEach((cell, i) => {
        cell.dataset.head = heads[i] || "";
        if (!cell.textContent.trim()) cell.hidden = true;
      });
  }
});
