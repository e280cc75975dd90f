// Sorting, search, CSV of what is shown, linked highlighting. The page is complete without any of it.
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  document.documentElement.classList.add("ready");

  // --- sorting: within each group of rows, so that bounds and incomplete rows stay where they are
  const valueOf = (row, column, kind) => {
    const cell = row.cells[column];
    if (kind === "text") return cell.textContent.trim().toLowerCase();
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null); // what has no number stands last either way
    return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
  };
  const sort = (header) => {
    const table = header.closest("table");
    const kind = header.dataset.sort;
    const first = header.dataset.first ?? (kind === "text" ? "ascending" : "descending");
    const second = first === "ascending" ? "descending" : "ascending";
    const direction = header.getAttribute("aria-sort") === first ? second : first;
    all("th[aria-sort]", table).forEach((th) => th.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("divider"));
      const keyed = rows.map((row) => [valueOf(row, header.cellIndex, kind), row]);
      keyed.sort((a, b) => compare(a[0], b[0], sign)).forEach(([, row]) => body.append(row));
    }
  };
  all("th[data-sort]").forEach((header) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(header));
    header.append(button);
  });

  // --- search
  const say = (tools, table) => {
    const rows = all("tbody tr[data-alg]", table);
    const shown = rows.filter((row) => !row.hidden).length;
    tools.querySelector(".shown").textContent = shown === rows.length ? "" : `${shown} of ${rows.length} rows`;
  };
  all(".tools").forEach((tools) => {
    const table = document.getElementById(tools.dataset.for);
    tools.hidden = false;
    tools.querySelector("input").addEventListener("input", (event) => {
      const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
      all("tbody tr[data-alg]", table).forEach((row) => {
        const name = row.dataset.name.toLowerCase();
        row.hidden = !words.every((word) => name.includes(word));
      });
      [...table.tBodies].forEach((body) => { body.hidden = all("tr[data-alg]", body).every((row) => row.hidden); });
      say(tools, table);
    });
    tools.querySelector("[data-csv]").addEventListener("click", () => save(table));
  });

  // --- CSV of the rows shown, in the order shown
  const quoted = (text) => {
    const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const save = (table) => {
    const rows = all("thead tr, tbody tr[data-alg]", table).filter((row) => !row.hidden);
    const lines = rows.map((row) =>
      [...row.cells].map((cell) => quoted(cell.dataset.csv ?? cell.dataset.value ?? cell.textContent.replace(/\s+/g, " ").trim())).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
    link.download = `${table.id.slice(2)}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  };

  // --- one algorithm, highlighted everywhere
  const picked = new Set();
  const picker = document.querySelector(".picker");
  const clear = picker.querySelector(".clear");
  picker.hidden = false;
  const paint = () => {
    document.body.classList.toggle("picking", picked.size > 0);
    all("[data-alg]").forEach((item) => item.classList.toggle("picked", picked.has(item.dataset.alg)));
    all("[data-pick]").forEach((item) => item.setAttribute("aria-pressed", String(picked.has(item.dataset.pick))));
    clear.hidden = picked.size === 0;
  };
  const pick = (name) => {
    if (!picked.delete(name)) picked.add(name);
    paint();
  };
  all("[data-pick]").forEach((item) => item.addEventListener("click", () => pick(item.dataset.pick)));
  clear.addEventListener("click", () => { picked.clear(); paint(); });

  // --- the name of what a line or dot belongs to, on hover
  const names = new Map(all("[data-pick]").map((item) => [item.dataset.pick, item.dataset.title]));
  all("svg .alg").forEach((item) => {
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = names.get(item.dataset.alg) ?? item.dataset.alg;
    item.prepend(title);
  });

  // --- pictures with a choice of axis
  all(".choices").forEach((figure) => {
    const show = (key) => all(".picture", figure).forEach((one) => one.classList.toggle("chosen", one.id === key));
    all("input[type=radio]", figure).forEach((input) => {
      input.addEventListener("change", () => show(input.value));
      if (input.checked) show(input.value);
    });
  });

  // --- commands to the clipboard; files opened from disk may lack the clipboard, so a selection is the other way
  const copied = async (code) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return true;
    } catch {
      getSelection().selectAllChildren(code);
      return document.execCommand("copy");
    }
  };
  all(".command code").forEach((code) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      button.textContent = (await copied(code)) ? "Copied" : "Selected: copy it by hand";
    });
    code.after(button);
  });

  // --- a link to a run inside closed details opens them
  const open = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1)); // our ids need no decoding
    for (let item = target; item; item = item.parentElement) if (item.tagName === "DETAILS") item.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("beforeprint", () => all("details").forEach((item) => { item.open = true; }));
  addEventListener("hashchange", open);
  open();
})();
