import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

/** The result of an axe run. */
interface Findings {
  violations: { id: string; impact: string; nodes: { target: string[] }[] }[];
}

/** Both colour schemes and both widths in which every screen must be usable: the width does not affect the contrast. */
export const displayVariants = [
  ['light', 360],
  ['dark', 1440],
] as const;

/** Expects no serious or critical violation, and no horizontal scrolling. */
export async function expectAccessible(page: Page, screen: string): Promise<void> {
  // During a transition, colours are not final.
  await expect
    .poll(() =>
      page.evaluate(
        'document.getAnimations().every(({ effect }) => effect.getTiming().iterations === Infinity)',
      ),
    )
    .toBe(true);
  // Mantine names a dialog in an effect, shortly after it is in the document.
  await expect
    .poll(
      () =>
        page.evaluate(
          "document.querySelectorAll('[role=dialog]:not([aria-labelledby], [aria-label])').length",
        ),
      { message: `${screen}: dialogs without a name` },
    )
    .toBe(0);
  if (await page.evaluate("typeof axe === 'undefined'")) await page.evaluate(await readFile(axe, 'utf8'));
  const { violations } = await page.evaluate<Findings>(
    // Only an experimental rule, which is off, uses the style sheets that `preload` fetches.
    "axe.run({ preload: false, resultTypes: ['violations'] })",
  );
  const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  expect(
    bad.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`),
    screen,
  ).toEqual([]);
  expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), screen).toBe(true);
}
