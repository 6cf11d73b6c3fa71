"use strict";
// Draws where a model looked from the data in #looks.  Every text in the data is a stranger's: it reaches the page as textContent only.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = byId("looks").textContent.trim();
  const looks = data ? JSON.parse(data).looks : [];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const state = { look: 0, layer: null, head: null, units: "words", pinned: false, chosen: { side: "output", index: 0 }, cell: [0, 0] };
  let view = null; // {source, output, weights}: what is drawn now
  const PRINTED = 20; // numbers stand in the cells up to this many rows and columns
  const EAGER = 60; // more rows than this are drawn when they come near the window

  const make = (name, text, className) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const brief = (weight) => (weight < 0.005 ? "0" : weight.toFixed(2));
  const other = (side) => (side === "source" ? "output" : "source");
  const spoken = (side, index) => (index === view[side].length - 1 ? "end of sentence" : view[side][index].text);
  const sentence = (row, column) => `output '${spoken("output", row)}', source '${spoken("source", column)}', ${view.weights[row][column].toFixed(2)}`;
  const shade = (element, weight) => {
    element.style.setProperty("--w", Math.min(1, Math.max(0, weight)).toFixed(4));
    element.classList.toggle("strong", weight >= 0.5); // the upper half of the scale
  };

  // The numbers

  const mean = (matrices) => matrices[0].map((row, t) => row.map((_, s) => matrices.reduce((sum, matrix) => sum + matrix[t][s], 0) / matrices.length));
  const add = (numbers) => numbers.reduce((sum, number) => sum + number, 0);
  const heads = (look) => {
    if (state.layer === null) return look.layers.flatMap((layer) => layer.heads);
    return state.head === null ? look.layers[state.layer].heads : [look.layers[state.layer].heads[state.head]];
  };
  const merged = (look, matrix) =>
    // Over the source pieces of a word the sum, over its output pieces the mean: rows go on adding up to 1.
    look.words.output_pieces.map((rows) => look.words.source_pieces.map((columns) => add(rows.map((t) => add(columns.map((s) => matrix[t][s])))) / rows.length));
  const sides = (look) => {
    const end = { text: "\u23ce", unknown: false };
    if (state.units === "pieces") {
      const cells = (pieces) => [...pieces.map((piece) => ({ text: piece.shown, unknown: piece.unknown })), end];
      return [cells(look.source_pieces), cells(look.output_pieces)];
    }
    const cells = (words, groups, pieces) => words.map((text, word) => ({ text, unknown: groups[word].some((number) => number < pieces.length && pieces[number].unknown) }));
    return [cells(look.words.source, look.words.source_pieces, look.source_pieces), cells(look.words.output, look.words.output_pieces, look.output_pieces)];
  };
  const compute = () => {
    const look = looks[state.look];
    const matrix = mean(heads(look));
    const [source, output] = sides(look);
    view = { source, output, weights: state.units === "pieces" ? matrix : merged(look, matrix) };
  };

  // Word by word

  const drawStrip = (side) => {
    const tokens = view[side].map((cell, index) => {
      const token = make("button", undefined, cell.unknown ? "token unknown" : "token");
      token.type = "button";
      token.dataset.index = index;
      const word = make("span", cell.text);
      if (index === view[side].length - 1) {
        word.setAttribute("role", "img");
        word.setAttribute("aria-label", "end of sentence");
      }
      if (cell.unknown) token.title = "not in the vocabulary";
      token.append(word, make("span", "", "weight"));
      return token;
    });
    byId(side).replaceChildren(...tokens);
  };
  const toward = (side, index) => (side === "output" ? view.weights[index] : view.weights.map((row) => row[index]));
  const tint = () => {
    const { side, index } = state.chosen ?? { side: "output", index: -1 };
    const weights = index < 0 ? [] : toward(side, index);
    for (const name of ["source", "output"]) {
      [...byId(name).children].forEach((token, number) => {
        const weight = name === side ? 0 : (weights[number] ?? 0);
        shade(token, weight);
        token.classList.toggle("chosen", name === side && number === index);
        token.setAttribute("aria-pressed", String(state.pinned && name === side && number === index));
        token.lastChild.textContent = name === side || index < 0 ? "" : brief(weight);
      });
    }
    byId("summary").textContent = index < 0 ? "" : summary(side, index, weights);
  };
  const summary = (side, index, weights) => {
    const best = weights.map((weight, number) => [weight, number]).sort((a, b) => b[0] - a[0]).slice(0, 3).filter(([weight]) => weight >= 0.05);
    const named = best.map(([weight, number]) => `\u2068${spoken(other(side), number)}\u2069 ${weight.toFixed(2)}`).join(", ");
    const word = `\u2068${spoken(side, index)}\u2069`;
    if (!best.length) return `${word}: no weight above 0.05`;
    return side === "output" ? `${word} looked at: ${named}` : `${word} was looked at by: ${named}`;
  };
  const choose = (side, index) => {
    if (state.pinned) return;
    if (state.chosen && state.chosen.side === side && state.chosen.index === index) return;
    state.chosen = { side, index };
    tint();
  };
  const release = () => {
    state.pinned = false;
    state.chosen = null;
    tint();
  };

  // The heat map

  const header = (cell, scope, last) => {
    const th = make("th");
    th.scope = scope;
    const label = make("span", cell.text);
    label.dir = "auto";
    label.lang = "";
    if (cell.text.length > 8) label.title = cell.text;
    if (last) {
      label.setAttribute("role", "img");
      label.setAttribute("aria-label", "end of sentence");
    }
    th.append(label);
    return th;
  };
  const headRow = () => {
    const row = make("tr");
    row.append(make("td"), ...view.source.map((cell, column) => header(cell, "col", column === view.source.length - 1)));
    const head = make("thead");
    head.append(row);
    return head;
  };
  const fill = (tr) => {
    if (tr.dataset.filled) return;
    tr.dataset.filled = "yes";
    const row = Number(tr.dataset.row);
    const printed = view.source.length <= PRINTED && view.output.length <= PRINTED;
    const cells = view.weights[row].map((weight, column) => {
      const td = make("td", printed ? brief(weight) : undefined, "cell");
      td.dataset.column = column;
      td.tabIndex = row === state.cell[0] && column === state.cell[1] ? 0 : -1;
      td.setAttribute("role", "gridcell");
      td.setAttribute("aria-label", sentence(row, column));
      shade(td, weight);
      return td;
    });
    tr.append(...cells);
  };
  let watcher = null;
  const drawMap = () => {
    const map = byId("map");
    const letters = view.source.reduce((sum, cell) => sum + Math.max(4, [...cell.text].length), 0);
    map.classList.toggle("small", Math.max(view.source.length, view.output.length) > PRINTED);
    map.classList.toggle("tall", view.source.length > PRINTED || letters > 90);
    map.setAttribute("aria-rowcount", view.output.length + 1);
    map.setAttribute("aria-colcount", view.source.length + 1);
    const body = make("tbody");
    body.append(
      ...view.output.map((cell, row) => {
        const tr = make("tr");
        tr.dataset.row = row;
        tr.append(header(cell, "row", row === view.output.length - 1));
        return tr;
      }),
    );
    map.replaceChildren(headRow(), body);
    watcher?.disconnect();
    watcher = new IntersectionObserver((entries) => entries.forEach((entry) => entry.isIntersecting && fill(entry.target)), { rootMargin: "300px" });
    [...body.rows].forEach((tr) => (view.output.length <= EAGER || Number(tr.dataset.row) === state.cell[0] ? fill(tr) : watcher.observe(tr)));
    byId("readout").textContent = "";
  };
  const place = (td) => [Number(td.parentElement.dataset.row), Number(td.dataset.column)];
  const cellAt = (row, column) => {
    const tr = byId("map").tBodies[0].rows[row];
    fill(tr);
    return tr.cells[column + 1];
  };
  const point = (td) => {
    const [row, column] = place(td);
    byId("readout").textContent = sentence(row, column);
    for (const th of byId("map").querySelectorAll("th.here")) th.classList.remove("here");
    td.parentElement.cells[0].classList.add("here");
    byId("map").tHead.rows[0].cells[column + 1].classList.add("here");
    choose("output", row);
  };
  const move = (row, column) => {
    cellAt(...state.cell).tabIndex = -1;
    state.cell = [row, column];
    const td = cellAt(row, column);
    td.tabIndex = 0;
    td.focus();
  };
  const jump = (event, row, column) => {
    const [bottom, right] = [view.output.length - 1, view.source.length - 1];
    const to = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      Home: [event.ctrlKey ? 0 : row, 0], End: [event.ctrlKey ? bottom : row, right], PageUp: [row - 10, column], PageDown: [row + 10, column],
    }[event.key];
    return to && [Math.min(bottom, Math.max(0, to[0])), Math.min(right, Math.max(0, to[1]))];
  };

  // The table of numbers, and all heads at a glance

  const drawTable = () => {
    if (!byId("numbers").open) return;
    const body = make("tbody");
    body.append(
      ...view.weights.map((weights, row) => {
        const tr = make("tr");
        tr.append(header(view.output[row], "row", row === view.output.length - 1), ...weights.map((weight) => make("td", weight.toFixed(4))));
        return tr;
      }),
    );
    byId("table").replaceChildren(make("caption", "Rows: output. Columns: source."), headRow(), body);
  };
  const thumbnail = (matrix) => {
    const canvas = make("canvas");
    canvas.width = matrix[0].length;
    canvas.height = matrix.length;
    requestAnimationFrame(() => {
      const context = canvas.getContext("2d");
      const colours = getComputedStyle(canvas);
      for (const [colour, from] of [["--mid", 0], ["--high", 0.5]]) {
        context.fillStyle = colours.getPropertyValue(colour).trim();
        matrix.forEach((row, t) => row.forEach((weight, s) => {
          context.globalAlpha = Math.min(1, Math.max(0, 2 * (weight - from)));
          context.fillRect(s, t, 1, 1);
        }));
      }
    });
    return canvas;
  };
  const drawThumbnails = () => {
    if (!byId("heads").open) return;
    const look = looks[state.look];
    const buttons = look.layers.flatMap((layer, number) => layer.heads.map((matrix, head) => {
      const button = make("button");
      button.type = "button";
      button.dataset.value = `${number}.${head}`;
      button.setAttribute("aria-pressed", String(state.layer === number && state.head === head));
      button.append(thumbnail(state.units === "pieces" ? matrix : merged(look, matrix)), make("span", `${layer.name}, head ${head}`));
      return button;
    }));
    byId("thumbnails").replaceChildren(...buttons);
  };

  // What is chosen

  const option = (value, text) => {
    const element = make("option", text);
    element.value = value;
    return element;
  };
  const drawPlaces = () => {
    const look = looks[state.look];
    const single = look.layers.length === 1 && look.layers[0].heads.length === 1;
    byId("place-field").hidden = byId("heads").hidden = single;
    const groups = look.layers.map((layer, number) => {
      const group = make("optgroup");
      group.label = layer.name;
      const several = layer.heads.length > 1;
      group.append(...(several ? [option(`${number}`, `mean of its ${layer.heads.length} heads`)] : []), ...layer.heads.map((_, head) => option(`${number}.${head}`, several ? `head ${head}` : "its one head")));
      return group;
    });
    byId("place").replaceChildren(option("", "mean of all heads"), ...groups);
    choosePlace("");
  };
  const choosePlace = (value) => {
    const [layer, head] = value.split(".");
    state.layer = layer ? Number(layer) : null;
    state.head = head ? Number(head) : null;
    byId("place").value = value;
  };
  const draw = () => {
    compute();
    state.pinned = false;
    state.cell = [0, 0];
    state.chosen = { side: "output", index: 0 };
    drawStrip("source");
    drawStrip("output");
    tint();
    drawMap();
    drawTable();
    drawThumbnails();
  };
  const open = (number) => {
    state.look = number;
    const look = looks[number];
    [...byId("list").querySelectorAll("button")].forEach((button, index) => (index === number ? button.setAttribute("aria-current", "true") : button.removeAttribute("aria-current")));
    byId("score").textContent = look.score === null ? "" : `score ${look.score.toFixed(3).replace("-", "\u2212")}`;
    const whole = look.words.source_pieces.length === look.source_pieces.length + 1 && look.words.output_pieces.length === look.output_pieces.length + 1;
    byId("units-field").hidden = whole;
    drawPlaces();
    draw();
  };
  const drawList = () => {
    const items = looks.map((look, number) => {
      const button = make("button");
      button.type = "button";
      button.dataset.look = number;
      for (const text of [look.source, look.output]) {
        const line = make("span", text || "\u00a0");
        line.dir = "auto";
        line.lang = "";
        button.append(line);
      }
      const item = make("li");
      item.append(button);
      return item;
    });
    byId("list").replaceChildren(...items);
    byId("sentences").hidden = looks.length < 2;
  };

  // What people do

  const listen = (id, type, selector, act) =>
    byId(id).addEventListener(type, (event) => {
      const target = event.target.closest(selector);
      if (target) act(target, event);
    });
  for (const side of ["source", "output"]) {
    const look = (token) => choose(side, Number(token.dataset.index));
    listen(side, "pointerover", ".token", look);
    listen(side, "focusin", ".token", look);
    listen(side, "click", ".token", (token) => {
      const index = Number(token.dataset.index);
      const again = state.pinned && state.chosen.side === side && state.chosen.index === index;
      state.pinned = !again;
      state.chosen = { side, index };
      tint();
    });
  }
  listen("list", "click", "button", (button) => open(Number(button.dataset.look)));
  listen("place", "change", "select", (select) => { choosePlace(select.value); draw(); });
  listen("units-field", "change", "input", (input) => { state.units = input.value; draw(); });
  listen("thumbnails", "click", "button", (button) => {
    const value = button.dataset.value;
    choosePlace(value);
    draw();
    byId("thumbnails").querySelector(`[data-value="${value}"]`).focus();
  });
  byId("numbers").addEventListener("toggle", drawTable);
  byId("heads").addEventListener("toggle", drawThumbnails);
  listen("map", "pointerover", "td.cell", point);
  listen("map", "focusin", "td.cell", point);
  listen("map", "click", "td.cell", (td) => move(...place(td)));
  listen("map", "keydown", "td.cell", (td, event) => {
    const to = jump(event, ...place(td));
    if (!to) return;
    event.preventDefault();
    move(...to);
  });
  document.addEventListener("keydown", (event) => event.key === "Escape" && view && release());

  if (!looks.length) return;
  dark.addEventListener("change", drawThumbnails);
  byId("main").hidden = false;
  drawList();
  open(0);
})();
