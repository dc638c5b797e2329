"""What a page must keep to so that everybody can use it: names, labels, headings, contrast, a focus that is seen."""

from __future__ import annotations

from playwright.sync_api import Page

NAMED = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "radio", "spinbutton", "progressbar", "img"}

_LOOKS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = (text) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    return layers.reverse().reduce((below, top) => over(top, below), dark ? [0, 0, 0] : [255, 255, 255]);
  };
  const found = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    if (!node.textContent.trim() || element.closest("script, style, svg title, option, [disabled]")) continue;
    if (!element.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})) continue;
    const box = element.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) continue;
    const style = getComputedStyle(element);
    const ink = element.closest("svg") ? style.fill : style.color;
    const back = behind(element);
    const [a, b] = [luminance(over(rgb(ink), back)), luminance(back)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio >= (large ? 3 : 4.5)) continue;
    found.add(`contrast ${ratio.toFixed(2)} of “${node.textContent.trim().slice(0, 40)}”`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.add(`the id ${id} stands there twice`);
  const first = document.querySelectorAll("h1").length;
  if (first !== 1) found.add(`${first} first headings`);
  let level = 1;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const now = Number(heading.tagName[1]);
    if (now > level + 1) found.add(`h${now} “${heading.textContent.trim().slice(0, 30)}” follows h${level}`);
    level = now;
  }
  for (const target of document.querySelectorAll("[aria-labelledby], [aria-describedby], label[for]")) {
    for (const name of ["aria-labelledby", "aria-describedby", "for"]) {
      for (const id of (target.getAttribute(name) || "").split(" ").filter(Boolean)) {
        if (!document.getElementById(id)) found.add(`${name} names ${id}, which is not there`);
      }
    }
  }
  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    if (field.hidden || field.labels?.length || field.hasAttribute("aria-label")) continue;
    if (!field.hasAttribute("aria-labelledby")) found.add(`the field ${field.name || field.id} has no label`);
  }
  if (!document.documentElement.lang) found.add("no language");
  for (const table of document.querySelectorAll("table:has(tr + tr)")) {
    if (table.querySelectorAll("td").length > 8 && !table.querySelector("th")) found.add("a table without headings");
  }
  return [...found];
}"""

_UNSEEN = """() => {
  const focused = document.activeElement;
  if (!focused || focused === document.body) return null;
  const style = getComputedStyle(focused);
  const box = focused.getBoundingClientRect();
  const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
  const text = (focused.textContent || focused.getAttribute("name") || "").trim();
  return [`${focused.tagName} “${text.slice(0, 30)}”`, seen, box.width > 0 && box.height > 0];
}"""


def barriers(page: Page) -> list[str]:
    """Return what stands in somebody's way on the page that is open, in words."""
    found: list[str] = page.evaluate(_LOOKS)
    tools = page.context.new_cdp_session(page)
    for node in tools.send("Accessibility.getFullAXTree")["nodes"]:
        role = node.get("role", {}).get("value", "")
        if node.get("ignored") or role not in NAMED:
            continue
        if not str(node.get("name", {}).get("value", "")).strip():
            where = tools.send("DOM.describeNode", {"backendNodeId": node["backendDOMNodeId"]})["node"]
            found.append(f"a {role} without a name: {where['nodeName']} {where.get('attributes')}")
    tools.detach()
    return found


def unseen_focus(page: Page, most: int = 80) -> list[str]:
    """Go through the page by Tab; return what takes the focus without showing it."""
    found = []
    page.evaluate("document.activeElement.blur()")
    for _ in range(most):
        page.keyboard.press("Tab")
        looked = page.evaluate(_UNSEEN)
        if looked is None:
            break
        name, outlined, there = looked
        if not (outlined and there):
            found.append(f"{name} takes the focus and does not show it")
    return found
