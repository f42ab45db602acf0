/**
 * Checks that every import in src/ goes down: a module imports from its own layer and from lower ones, and no modules
 * import each other in a circle. `npm run lint` runs it.
 */
import { globSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, matchesGlob } from 'node:path';
import { parseAst } from 'vite';

/**
 * The layers of src/, lowest first. Those on one line do not import from each other. `*` stands for the files directly in
 * a folder, `**` for everything below it; a file with a line of its own is not of its folder's layer. New folders get a
 * line here, and docs/architecture.md shows the same list.
 */
const layers = [
  ['common/*'],
  ['outbound/*', 'database/migrations/*'],
  ['database/driver/*'],
  ['database/*'],
  ['encryption/*'],
  ['identity/*', 'jobs/*'],
  ['audit/*', 'rate-limits/*'],
  ['auth/*', 'oauth/*'],
  ['apps/*'],
  ['apps/*/**'],
  ['apps/index.ts'],
  ['http/*'],
  ['connections/usage/*'],
  ['connections/rate-budget/*'],
  ['connections/*'],
  ['connections/use-policy/*'],
  ['connections/credentials/*'],
  ['connections/persistence/*'],
  ['connections/managed-keys/*'],
  ['connections/operations/*'],
  ['connections/use/*', 'connections/checks/*', 'connections/revocations/*', 'connections/forecasts/*'],
  ['connections/use/typed-reads/*'],
  ['connections/setup-links/*'],
  ['webhooks/*'],
  ['administration/*'],
  ['integrity/*', 'key-rotation/*'],
  ['moving/*'],
  ['graphql/*'],
  ['connections/graphql/*', 'audit/graphql/*', 'administration/graphql/*', 'webhooks/graphql/*'],
  ['connections/graphql/typed-reads/*'],
  ['rest/*'],
  ['dashboard/**'],
  ['telemetry/*'],
  ['config/*'],
  ['bootstrap/*'],
  ['app/*'],
  ['cli/codegen/*', 'cli/doctor/*', 'cli/import-connections/*'],
  ['cli/*'],
  ['*'],
];

/** What the dashboard, a client of the API, shares with the server: the rules of input. */
const sharedWithDashboard = [
  ...['dashboard/**', 'apps/**', 'common/*'],
  ...['connections/annotations.ts', 'connections/input-schemas.ts'],
  ...['connections/update-input.ts', 'connections/convert-input.ts'],
];

/** The layers that may import packages of GraphQL. */
const graphqlLayers = ['graphql/*', '*/graphql/**', 'dashboard/**', 'app/*', 'cli/**'];
const graphqlPackage = /^(graphql(-.*)?|@pothos\/.*|@graphql-yoga\/.*)$/;

const singleFiles = layers.flat().filter((layer) => !layer.includes('*'));
const isIn = (file: string, patterns: readonly string[]) =>
  patterns.some((pattern) => matchesGlob(file, pattern));

function layerOf(file: string): { level: number; layer: string } | undefined {
  for (const [level, line] of layers.entries()) {
    const layer = line.find((pattern) =>
      singleFiles.includes(file) ? pattern === file : matchesGlob(file, pattern),
    );
    if (layer) return { level, layer };
  }
  return undefined;
}

/** The modules that a file of src/ names in imports and exports, types among them. */
function importsOf(file: string): string[] {
  const { body } = parseAst(readFileSync(join('src', file), 'utf8'), {
    lang: file.endsWith('x') ? 'tsx' : 'ts',
  });
  return body.flatMap((node) => ('source' in node && node.source ? [String(node.source.value)] : []));
}

const files = globSync('**/*.{ts,tsx}', { cwd: 'src', exclude: ['dashboard/*.d.ts'] });
const graph = new Map<string, string[]>();
const complaints: string[] = [];

for (const file of files) {
  const from = layerOf(file);
  if (!from) complaints.push(`src/${file} is in no layer; give its folder a line in .config/layers.ts`);
  const isDashboard = file.startsWith('dashboard/');
  const targets: string[] = [];
  for (const specifier of importsOf(file)) {
    if (!specifier.startsWith('.')) {
      if (graphqlPackage.test(specifier) && !isIn(file, graphqlLayers)) {
        complaints.push(`src/${file} imports ${specifier}; only ${graphqlLayers.join(', ')} may`);
      }
      if (isDashboard && (specifier.startsWith('node:') || builtinModules.includes(specifier))) {
        complaints.push(`src/${file} imports ${specifier}, which browsers do not have`);
      }
      continue;
    }
    const target = join(dirname(file), specifier);
    targets.push(target);
    const to = layerOf(target);
    if (from && to && (to.level > from.level || (to.level === from.level && to.layer !== from.layer))) {
      complaints.push(`src/${file} imports src/${target}; ${from.layer} is not above ${to.layer}`);
    }
    if (isDashboard && !isIn(target, sharedWithDashboard)) {
      complaints.push(`src/${file} imports src/${target}; the dashboard is a client of the API`);
    }
  }
  graph.set(file, targets);
}

const done = new Set<string>();
function findCircle(file: string, path: readonly string[]): void {
  const start = path.indexOf(file);
  if (start >= 0) complaints.push(`circular import: ${[...path.slice(start), file].join(' → ')}`);
  if (done.has(file)) return;
  done.add(file);
  for (const target of graph.get(file) ?? []) findCircle(target, [...path, file]);
}
for (const file of files) findCircle(file, []);

for (const complaint of complaints) console.error(complaint);
if (complaints.length > 0) process.exitCode = 1;
