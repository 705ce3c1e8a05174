"""The style sheet of reports: light and dark, for screens from a phone's to a desktop's."""

from ...analysis.figures.style import COLOURS

_VISITS = "\n".join(f".visit-{k} {{ border-left-color: {colour}; }}" for k, colour in enumerate(COLOURS))

STYLE = f"""
:root {{
  color-scheme: light dark;
  --paper: light-dark(#ffffff, #14171c); --card: light-dark(#f5f6f8, #1e222a);
  --ink: light-dark(#1b1e24, #e4e7ec); --soft: light-dark(#5a6270, #a3abb8); --line: light-dark(#d7dbe1, #353b46);
}}
:root:has(#light:checked) {{ color-scheme: light; }}
:root:has(#dark:checked) {{ color-scheme: dark; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }}
header, main {{ max-width: 1240px; margin: 0 auto; padding: 0 16px; }}
header {{ display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 0 24px; }}
h1 {{ font-size: 1.35rem; margin: 16px 0 8px; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.1rem; margin: 28px 0 8px; }}
h3 {{ font-size: 1rem; margin: 0 0 8px; }}
.themes {{ border: 0; padding: 0; margin: 0; display: flex; gap: 12px; font-size: 0.85rem; color: var(--soft); }}
.themes legend {{ float: left; padding-right: 12px; }}
.slider {{
  position: sticky; top: 0; z-index: 2; background: var(--paper); border-bottom: 1px solid var(--line);
  display: flex; flex-wrap: wrap; align-items: center; gap: 4px 12px; padding: 8px 0;
}}
.slider input {{ flex: 1 1 200px; min-width: 140px; height: 24px; accent-color: #4477aa; }}
.slider output {{ flex: 0 0 auto; font-variant-numeric: tabular-nums; font-size: 0.85rem; min-width: 15em; }}
.stops {{ display: flex; flex-wrap: wrap; gap: 6px; }}
button {{
  font: inherit; font-size: 0.85rem; color: var(--ink); background: var(--card); border: 1px solid var(--line);
  border-radius: 5px; padding: 2px 10px; cursor: pointer;
}}
:focus-visible {{ outline: 3px solid #4477aa; outline-offset: 2px; }}
.wide {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 350px), 1fr)); gap: 12px; }}
.square {{ display: flex; flex-wrap: wrap; gap: 12px; }}
figure {{ margin: 0; padding: 8px; background: var(--card); border-radius: 8px; min-width: 0; max-width: 100%; }}
figcaption {{ font-size: 0.85rem; color: var(--soft); padding: 0 4px 4px; overflow-wrap: anywhere; }}
.wide figure > div {{ width: 100%; }}
.square figure {{ overflow-x: auto; }}
.cards {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 380px), 1fr)); gap: 12px; }}
.card {{ background: var(--card); border-left: 5px solid; border-radius: 8px; padding: 12px; min-width: 0; }}
{_VISITS}
dl {{ display: grid; grid-template-columns: 8em 1fr; gap: 2px 10px; margin: 0 0 10px; font-size: 0.9rem; }}
dt {{ color: var(--soft); }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
table {{ border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: 2px 10px 2px 0; border-bottom: 1px solid var(--line); vertical-align: top; }}
th {{ font-weight: normal; color: var(--soft); }}
dl.long {{ grid-template-columns: minmax(9em, 1fr) 3fr; }}
.scroll {{ overflow-x: auto; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.85rem; }}
p {{ margin: 8px 0; font-size: 0.9rem; }}
@media (max-width: 480px) {{ dl {{ grid-template-columns: 6.5em 1fr; }} .slider output {{ min-width: 0; }} }}
"""
