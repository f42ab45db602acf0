/**
 * Starts the product without features that no setting turns off. `WITHOUT` lists them, separated by commas; the modules of
 * `without/` replace those of the product.
 */
import { registerHooks } from 'node:module';

const modules: Record<string, string> = {
  'audit-trail': 'audit/audited-change.ts',
  'document-limits': 'graphql/document-limits.ts',
  'fast-path': 'graphql/fast-path.ts',
  'prepared-statements': 'database/driver/prepared-statements.ts',
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
    // The replacement imports the original and re-exports the rest of it.
    if (!replacement || context.parentURL === replacement) return found;
    left.delete(found.url);
    return { ...found, url: replacement };
  },
});
// Between them, they import all modules that can be replaced.
await Promise.all([import('../../../src/app/server.ts'), import('../../../src/bootstrap/stores.ts')]);
if (left.size > 0) throw new Error(`the product does not have ${[...left.keys()].join(', ')}`);
await import('../../peers/servers/product.ts');
