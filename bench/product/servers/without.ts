/**
 * The product without some of the things that no setting turns off: the modules that do them are replaced, here alone, by
 * those of `without/`. What they are called is in `WITHOUT`, with commas between.
 */
import { registerHooks } from 'node:module';

const modules: Record<string, string> = {
  'audit-trail': 'audit/chain.ts',
  'document-limits': 'graphql/limits.ts',
};
const left = new Map(
  (process.env.WITHOUT ?? '')
    .split(',')
    .map((name) => [
      new URL(`../../../src/${modules[name]}`, import.meta.url).href,
      new URL(`without/${name}.ts`, import.meta.url).href,
    ]),
);
const replacements = new Map(left);

registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    const replacement = replacements.get(found.url);
    // The replacement has what it leaves alone from the original.
    if (!replacement || context.parentURL === replacement) return found;
    left.delete(found.url);
    return { ...found, url: replacement };
  },
});
await import('../../../src/app/server.ts');
if (left.size > 0) throw new Error(`the product does not have ${[...left.keys()].join(', ')}`);
await import('../../peers/servers/product.ts');
