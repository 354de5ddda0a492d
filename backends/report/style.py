"""The style sheet of report.html, light and dark."""

from onnx2mzi.backends.report.colour import BINS, bin_phase_rad, phase_colour

_BASE = """
:root{color-scheme:light dark;
--bg:#f7f7f5;--card:#fff;--ink:#1d2126;--soft:#626a73;--faint:#9aa1a9;--line:#e4e4e0;
--track:#ecece8;--accent:#2f5fd0;--mid:#9db4ea;--ref:#c9ccd1;--good:#1f7a4d;--goodbg:#e3f3ea;
--warn:#8a5a00;--warnbg:#fbf0d9;--guide:#b9bec5;--passive:#8b939c;--dark:#e2e4e6}
@media(prefers-color-scheme:dark){:root{
--bg:#121417;--card:#1a1d21;--ink:#e8eaed;--soft:#a2a9b2;--faint:#727a84;--line:#2b2f35;
--track:#262a30;--accent:#7fa2f5;--mid:#48609c;--ref:#4a5058;--good:#7fd6a6;--goodbg:#16301f;
--warn:#e8bd6a;--warnbg:#33280f;--guide:#4a5058;--passive:#7c848e;--dark:#2a2e33}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%}
main{max-width:1160px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:30px;line-height:1.2;margin:2px 0 6px;letter-spacing:-.02em;overflow-wrap:anywhere}
h2{font-size:18px;margin:44px 0 4px;letter-spacing:-.01em}
h3{font-size:13px;margin:0 0 10px;font-weight:600}
h3 small{display:block;font-weight:400;color:var(--soft);font-size:12px}
p{margin:0 0 12px;max-width:78ch}
.over{color:var(--accent);font-weight:600;font-size:12px;letter-spacing:.06em;
text-transform:uppercase}
.sub,.note{color:var(--soft)}.note{font-size:13px;max-width:100ch}
.sub span+span::before{content:"·";margin:0 8px;color:var(--faint)}
code{font:12px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
overflow-wrap:anywhere}
.verdict{margin:22px 0 16px;padding:16px 20px;border-radius:10px;border-left:4px solid var(--good);
background:var(--goodbg)}
.verdict.unsure{border-color:var(--warn);background:var(--warnbg)}
.verdict b{display:block;font-size:17px;line-height:1.35}
.verdict span{color:var(--soft)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:12px}
.cards.small{grid-template-columns:repeat(auto-fit,minmax(150px,1fr));margin-top:12px}
.cards.small .big small{display:block;margin:0}
.card,.panel,figure{background:var(--card);border:1px solid var(--line);border-radius:10px}
.card{padding:14px 16px}
.card .what{color:var(--soft);font-size:12px}
.card .big{font-size:25px;font-weight:600;letter-spacing:-.02em;line-height:1.3}
.card .big small{font-size:13px;font-weight:400;color:var(--soft);letter-spacing:0;
margin-left:6px}
.compare{display:grid;grid-template-columns:62px 1fr auto;gap:3px 8px;align-items:center;
margin-top:8px;font-size:12px;color:var(--soft)}
.compare .value{text-align:right;white-space:nowrap}.compare small{display:inline-block;width:46px;
color:var(--faint)}
.track{display:block;height:7px;border-radius:4px;background:var(--track);overflow:hidden}
.track i{display:block;height:100%;border-radius:4px;background:var(--accent)}
.track i.ref{background:var(--ref)}.track i.exact{background:var(--mid)}
.panel{padding:6px 0;overflow-x:auto;margin-top:10px}
table{border-collapse:collapse;width:100%;font-size:13px}
th,td{padding:7px 10px;text-align:right;white-space:nowrap;vertical-align:baseline}
th{color:var(--soft);font-weight:500;font-size:12px}
tbody tr{border-top:1px solid var(--line)}
tfoot tr{border-top:2px solid var(--line);font-weight:600}
th.l,td.l{text-align:left}td.wrap{white-space:normal;overflow-wrap:anywhere;min-width:180px}
td small{color:var(--soft);margin-left:6px}td .track{min-width:60px}
th:first-child,td:first-child{padding-left:18px}th:last-child,td:last-child{padding-right:18px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(258px,1fr));gap:12px;
margin-top:10px}
.chart{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.chart .row{display:grid;grid-template-columns:minmax(60px,32%) 1fr 68px;gap:10px;
align-items:center;font-size:12px;line-height:1.75}
.chart .name{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.chart .value{text-align:right;color:var(--soft);white-space:nowrap}
.legend{display:flex;flex-wrap:wrap;gap:6px 20px;font-size:12px;color:var(--soft);
margin:10px 0 4px;align-items:center}
.swatch{display:inline-flex;align-items:center;gap:7px}
.scale{display:inline-flex;align-items:center;gap:6px}
.ramp{display:inline-flex;border-radius:3px;overflow:hidden}.ramp i{width:4px;height:12px}
figure{margin:12px 0 0;padding:14px 16px}
figcaption{display:flex;flex-wrap:wrap;gap:4px 18px;align-items:center;font-size:12px;
color:var(--soft);margin-bottom:8px}
figcaption b{color:var(--ink);font-size:13px}
figcaption .plot{margin-left:auto;display:flex;align-items:center;gap:10px;text-align:right}
details>summary{cursor:pointer;margin-top:14px;font-weight:600}
svg{display:block}
svg.mesh{width:100%;height:auto}svg.mesh.key{width:18px;height:18px;flex:none}
svg.mesh path{fill:none}
svg.mesh .labels{fill:var(--soft);font-weight:600}
svg.mesh .hints rect{fill:transparent}svg.mesh .hints rect:hover{fill:var(--ink);opacity:.12}
.mesh .g{stroke:var(--guide);stroke-width:1}.mesh .dark{stroke:var(--dark);stroke-width:1}
.mesh .dump{stroke:var(--guide);stroke-width:1}
.mesh .bg{stroke:var(--card);stroke-width:9}.mesh .x{stroke:var(--guide);stroke-width:1.1}
.legend .mesh .bg{stroke:var(--bg)}
.mesh [class^=t]{stroke-width:7}.mesh [class^=f]{stroke-width:4}
.mesh .tp,.mesh .fp{stroke:var(--passive)}
svg.map{margin:2px 0 10px;max-width:100%;height:auto}svg.map rect{fill:var(--accent)}
svg.map .frame{fill:var(--track)}.tiles{font-size:12px;color:var(--soft);margin-top:8px}
svg.singular{width:220px;height:64px}.singular polyline{fill:none;stroke:var(--ref);stroke-width:2}
.singular circle{fill:var(--accent)}.axis{stroke:var(--line);fill:none}
.frontier .in{fill:var(--accent)}.frontier .out{fill:none;stroke:var(--ref)}
svg.histogram{width:100%;height:auto}.histogram text{font-size:10px;fill:var(--soft)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:5px 22px;margin:0;padding:10px 18px;
font-size:13px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.facts{columns:2 380px;column-gap:0}.facts div{break-inside:avoid;display:flex;gap:16px;
padding:3px 18px;font-size:13px}
.facts dt{flex:0 0 46%}
footer{margin-top:48px;padding-top:14px;border-top:1px solid var(--line);color:var(--soft);
font-size:12px}
@media print{body{background:#fff}main{padding:0}.card,figure,.chart{break-inside:avoid}}
"""


def style_sheet() -> str:
    """All rules, the colours of the phases among them."""
    colours = "".join(
        f".mesh .t{k},.mesh .f{k}{{stroke:{phase_colour(bin_phase_rad(k))}}}\n" for k in range(BINS)
    )
    return _BASE.lstrip() + colours
