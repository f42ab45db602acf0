import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the repository, with a slash at its end. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** A Markdown page of the documentation. */
export interface Page {
  /** Relative to the repository. */
  path: string;
  text: string;
}

/** Every page of the documentation. */
export function readPages(): Page[] {
  const paths = globSync(['*.md', 'docs/**/*.md', 'bench/*.md'], { cwd: root }).sort();
  return paths.map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}

/** A block of code between fences. */
export interface CodeBlock {
  page: string;
  language: string;
  code: string;
}

export function codeBlocks({ path, text }: Page): CodeBlock[] {
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language = '', code = '']) => ({
    page: path,
    language,
    code,
  }));
}

/** The broken relative links of a page: the file or the heading does not exist. */
export function brokenLinks({ path, text }: Page): string[] {
  const prose = withoutCode(text);
  const targets = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
  return targets.filter((target) => {
    if (/^(https?:|mailto:)/.test(target)) return false;
    const [file = '', anchor] = target.split('#');
    const linked = file === '' ? path : relative(root, join(root, dirname(path), file));
    if (!existsSync(join(root, linked))) return true;
    return anchor !== undefined && !headingIds(readFileSync(join(root, linked), 'utf8')).has(anchor);
  });
}

/** The ids that GitHub gives the headings of a page. */
function headingIds(text: string): ReadonlySet<string> {
  const counts = new Map<string, number>();
  const ids = [...withoutCode(text).matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) => {
    const id = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
    const count = counts.get(id) ?? 0;
    counts.set(id, count + 1);
    return count === 0 ? id : `${id}-${count}`;
  });
  return new Set(ids);
}

function withoutCode(text: string): string {
  return text.replace(/^```.*?^```$/gms, '');
}
