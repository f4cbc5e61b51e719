// Charts of lines: values over a count, each line with its name at its end.

// `lines`: [{points: [[x, y], …], name, colour, steps}]; the text `says` is for those who do not see it.
function drawChart(root, lines, { says, x, y }) {
  const [width, height, left, bottom, right] = [root.clientWidth, 230, 46, 34, 62];
  const points = lines.flatMap((line) => line.points);
  const most = [0, 1].map((axis) => Math.max(1, ...points.map((point) => point[axis])));
  const tick = 10 ** Math.floor(Math.log10(most[1]));
  const step = most[1] / tick < 2 ? tick / 2 : most[1] / tick < 5 ? tick : 2 * tick;
  const at = ([a, b]) => [left + (a / most[0]) * (width - left - right), height - bottom - (b / most[1]) * (height - bottom - 16)];
  const text = (cx, cy, words, anchor = "end", more = {}) => svg("text", { x: cx, y: cy, "text-anchor": anchor, ...more }, words);
  const parts = [text(left - 40, 12, y, "start"), text(width - right, height - 2, x), text(width - right, height - 17, thousands(most[0]))];
  for (let value = 0; value <= most[1]; value += step) {
    const [, cy] = at([0, value]);
    parts.push(svg("path", { class: "rule", d: `M${left} ${cy}H${width - right}` }), text(left - 6, cy + 4, thousands(value)));
  }
  const ends = lines.filter((line) => line.points.length).map((line) => ({ line, y: at(line.points[line.points.length - 1])[1] }));
  ends.sort((a, b) => a.y - b.y).forEach((end, i) => (end.y = Math.max(end.y, i ? ends[i - 1].y + 14 : 12)));
  for (const { line, y: cy } of ends) {
    const spots = line.points.map(at);
    const d = spots.map(([px, py], i) => `${i ? (line.steps ? `H${px}V` : `L${px} `) : `M${px} `}${py}`).join("");
    const style = { stroke: line.colour, "stroke-opacity": line.opacity ?? 1 };
    parts.push(svg("path", { class: "line", d, ...style }));
    if (line.steps) parts.push(...spots.map(([px, py]) => svg("circle", { cx: px, cy: py, r: 4, fill: line.colour })));
    parts.push(text(width - right + 6, cy + 4, line.name, "start"));
  }
  root.replaceChildren(svg("svg", { role: "img", "aria-label": says, width, height, viewBox: `0 0 ${width} ${height}` }, ...parts));
}
