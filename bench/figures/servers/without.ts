/**
 * The product without one of the things that no setting turns off: the module that does it is replaced, here alone, by
 * one of `without/`. What it is called is in `WITHOUT`.
 */
import { registerHooks } from 'node:module';

const replaced: Record<string, string> = {
  'audit-trail': 'audit/chain.ts',
  'document-limits': 'graphql/limits.ts',
};
const name = process.env.WITHOUT ?? '';
const original = new URL(`../../../src/${replaced[name]}`, import.meta.url).href;
const replacement = new URL(`without/${name}.ts`, import.meta.url).href;
let isReplaced = false;

registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    // The replacement has what it leaves alone from the original.
    if (found.url !== original || context.parentURL === replacement) return found;
    isReplaced = true;
    return { ...found, url: replacement };
  },
});
await import('../../../src/server.ts');
if (!isReplaced) throw new Error(`the product does not have src/${replaced[name]}`);
await import('../../peers/servers/product.ts');
