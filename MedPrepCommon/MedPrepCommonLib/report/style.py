"""The report page's look: one style sheet, light and dark, for screens and paper."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #ffffff; --ink: #16202c; --muted: #5b6776; --line: #dde2e8;
  --accent: #1c5d99;
  --pass: #1b7340; --pass-soft: #e3f4e9; --warn: #8a5300; --warn-soft: #fff1d6; --fail: #ab1f2a;
  --fail-soft: #fde4e5;
  --c0: #1c5d99; --c1: #d1600a; --c2: #2b8a5c; --c3: #9a3fa0; --c4: #7a6a00; --c5: #5b6776;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #10151b; --card: #19212a; --ink: #e7ecf1; --muted: #9aa7b5; --line: #303b47;
    --accent: #7db8ee;
    --pass: #6fd598; --pass-soft: #16342a; --warn: #f5bf63; --warn-soft: #3a2d13; --fail: #ff8b8f;
    --fail-soft: #421f23;
    --c0: #7db8ee; --c1: #f79b57; --c2: #6fd598; --c3: #d796dd; --c4: #d8c75a; --c5: #9aa7b5;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main, header > div { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
header { background: var(--card); border-bottom: 1px solid var(--line); padding: 26px 0 22px; }
header .row {
  display: flex; gap: 20px 32px; align-items: center; justify-content: space-between;
  flex-wrap: wrap;
}
h1 { margin: 0 0 4px; font-size: 26px; line-height: 1.2; letter-spacing: -0.01em; }
h2 { margin: 0 0 14px; font-size: 18px; line-height: 1.3; }
h3 { margin: 22px 0 6px; font-size: 15px; }
p { margin: 0 0 10px; }
code, .mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 0.88em; }
.muted { color: var(--muted); }
.lead { max-width: 62ch; text-wrap: pretty; margin: 0; color: var(--muted); }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 20px 22px;
  margin: 20px 0;
}
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-top: 16px; font-size: 14px; }
a { color: var(--accent); text-decoration: none; }
a:hover, a:focus-visible { text-decoration: underline; }
.badge {
  display: inline-flex; align-items: center; gap: 6px; padding: 2px 10px 2px 8px; border-radius: 999px;
  font-size: 13px; font-weight: 600; white-space: nowrap;
}
.pass { color: var(--pass); background: var(--pass-soft); }
.warn { color: var(--warn); background: var(--warn-soft); }
.fail { color: var(--fail); background: var(--fail-soft); }
.verdict { display: flex; gap: 14px; align-items: center; padding: 12px 18px; border-radius: 10px; }
.verdict .mark { font-size: 26px; line-height: 1; font-weight: 700; }
.verdict b { display: block; font-size: 17px; line-height: 1.25; }
.verdict span.text { font-size: 14px; }
.groups { columns: 3 250px; column-gap: 34px; font-size: 13.5px; }
.metrics { break-inside: avoid; margin-bottom: 12px; }
.metrics dl { margin: 0; }
.metrics dl div {
  display: flex; justify-content: space-between; gap: 12px; border-bottom: 1px dotted var(--line);
}
.metrics dt { color: var(--muted); overflow-wrap: anywhere; }
.metrics dd { margin: 0; font-variant-numeric: tabular-nums; white-space: nowrap; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
table.data { width: auto; min-width: 45%; }
table.data td, table.data th { padding-right: 26px; }
td.size { white-space: nowrap; }
td.mark { white-space: nowrap; width: 1%; }
table.checks th:nth-child(2) { width: 17%; } table.checks th:nth-child(3) { width: 22%; }
table.checks th:nth-child(4) { width: 19%; }
caption { text-align: left; font-weight: 600; padding: 4px 0 6px; }
th, td {
  text-align: left; vertical-align: top; padding: 6px 14px 6px 0;
  border-bottom: 1px solid var(--line);
}
th { font-weight: 600; color: var(--muted); font-size: 13px; }
tbody tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.n + td:not(.n), th.n + th:not(.n) { padding-left: 10px; }
td.digest { overflow-wrap: anywhere; min-width: 14em; }
/* Figures grow by their width, so that a millimetre is as long in all pictures of a row. */
.planes { display: flex; gap: 12px; align-items: flex-start; }
.planes.one { max-width: 540px; }
figure { margin: 0; min-width: 0; flex: 1 1 0; }
figure img { display: block; width: 100%; height: auto; background: #000; border-radius: 6px; }
figcaption { font-size: 13px; color: var(--muted); margin-top: 4px; }
.views { margin: 0 0 26px; }
.views:last-child { margin-bottom: 0; }
.views h3 { margin: 0 0 8px; display: flex; flex-wrap: wrap; gap: 2px 12px; align-items: baseline; }
.views h3 small { font-weight: 400; color: var(--muted); font-size: 13px; }
.legend {
  list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 6px 0 0;
  font-size: 13.5px;
}
.chip {
  display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px;
  vertical-align: -1px;
}
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); gap: 18px 24px; }
.chart { width: 100%; height: auto; display: block; max-width: 640px; }
.chart text {
  fill: var(--muted); font: 12px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif;
}
.chart text.title { font-size: 12.5px; fill: var(--ink); }
.chart .grid { stroke: var(--line); } .chart .axis { stroke: var(--muted); }
.chart .line {
  fill: none; stroke-width: 1.6; stroke-linejoin: round; } .chart .area { stroke: none;
  opacity: 0.13;
}
.line.c0 { stroke: var(--c0); } .line.c1 { stroke: var(--c1); } .line.c2 { stroke: var(--c2); }
.line.c3 { stroke: var(--c3); } .line.c4 { stroke: var(--c4); } .line.c5 { stroke: var(--c5); }
.area.c0 { fill: var(--c0); } .area.c1 { fill: var(--c1); } .area.c2 { fill: var(--c2); }
.area.c3 { fill: var(--c3); } .area.c4 { fill: var(--c4); } .area.c5 { fill: var(--c5); }
.chip.c0 {
  background: var(--c0); } .chip.c1 { background: var(--c1); } .chip.c2 { background: var(--c2);
}
.chip.c3 {
  background: var(--c3); } .chip.c4 { background: var(--c4); } .chip.c5 { background: var(--c5);
}
ol.steps { margin: 0; padding-left: 1.4em; }
ol.steps > li { margin-bottom: 12px; }
.params {
  display: flex; flex-wrap: wrap; gap: 3px 18px; margin: 2px 0 0; padding: 0; list-style: none;
  font-size: 14px;
}
.params .set { font-weight: 600; }
.tag {
  font-size: 11.5px; border: 1px solid var(--line); border-radius: 4px; padding: 0 5px;
  color: var(--muted);
}
pre {
  background: var(--page); border: 1px solid var(--line); border-radius: 6px; padding: 10px 12px;
  overflow-x: auto; margin: 6px 0 12px;
}
footer { color: var(--muted); font-size: 13px; padding: 4px 0 36px; }
@media (max-width: 720px) {
  main, header > div { padding: 0 14px; }
  section { padding: 16px 14px; }
  .planes { flex-direction: column; align-items: stretch; }
  .scroll table { min-width: 600px; }
  .charts { grid-template-columns: minmax(0, 1fr); }
}
@media print {
  :root {
    color-scheme: light;
    --page: #fff; --card: #fff; --ink: #000; --muted: #444; --line: #bbb; --accent: #000;
    --pass: #0d5a2d; --pass-soft: #fff; --warn: #6b4000; --warn-soft: #fff; --fail: #8f0d18;
    --fail-soft: #fff;
  }
  @page { margin: 14mm; }
  body { font-size: 10pt; }
  nav { display: none; }
  main, header > div { max-width: none; padding: 0; }
  header { padding: 0 0 8pt; }
  section { border: 0; padding: 0; margin: 14pt 0; }
  .verdict, .badge { border: 1px solid currentColor; }
  .views, figure, .charts > div, tr, ol.steps > li { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .planes { flex-direction: row; }
  .scroll { overflow: visible; }
  img, .chip { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

#: What the pages of a batch have besides.
BATCH_CSS = """
.thumbs { display: grid; grid-template-columns: repeat(auto-fill, minmax(168px, 1fr)); gap: 16px; }
.thumbs figure { break-inside: avoid; }
.thumbs img { height: 168px; object-fit: contain; }
.thumbs figcaption { overflow-wrap: anywhere; }
.thumbs .badge { padding: 0 7px; font-size: 12px; }
tbody th { color: var(--ink); overflow-wrap: anywhere; min-width: 7em; }
tbody tr:last-child th { border-bottom: 0; }
.matrix { width: auto; }
.matrix thead th { vertical-align: bottom; font-size: 12px; min-width: 4.5em; max-width: 8em; }
.matrix td { text-align: center; }
.cell {
  display: inline-block; width: 24px; height: 24px; line-height: 24px; border-radius: 6px; font-weight: 700;
}
.times td:nth-child(3), .times td:nth-child(5) { font-variant-numeric: tabular-nums; white-space: nowrap; }
.times td:nth-child(4) { width: 55%; }
.bar { display: block; height: 10px; margin-top: 6px; border-radius: 3px; background: var(--accent); }
iframe { width: 100%; height: 420px; border: 1px solid var(--line); border-radius: 8px; }
"""
