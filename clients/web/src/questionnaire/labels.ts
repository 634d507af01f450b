// Wordings by language.

import type { Text } from "./options.js";

/**
 * The wording in a language: in that language, else in the language without its script and region ("zh-Hans" falls back to
 * "zh"), else in the first of `order` that has one, else in English, Chinese, or any other. "" where there is no wording.
 */
export function textIn(text: Text | undefined, language: string, order: readonly string[] = []): string {
  if (!text) return "";
  const tags = [language];
  for (let at = language.lastIndexOf("-"); at > 0; at = language.lastIndexOf("-", at - 1)) tags.push(language.slice(0, at));
  for (const tag of [...tags, ...order, "en", "zh"]) {
    const found = textExactly(text, tag);
    if (found) return found;
  }
  return Object.keys(text.more).sort().map((tag) => text.more[tag]).find((t) => t) ?? "";
}

/** The wording in one language, "" where it is not there in that. */
export function textExactly(text: Text | undefined, tag: string): string {
  if (!text) return "";
  if (tag === "en") return text.en;
  if (tag === "zh") return text.zh;
  return Object.hasOwn(text.more, tag) ? text.more[tag] : "";
}
