import { createHash } from 'node:crypto';
import type { LockedPackage } from './packages.ts';

/** The package of which the list is. */
interface Product {
  name: string;
  version: string;
  license: string;
  dependencies: Record<string, string>;
}

/**
 * Lists the packages in the format CycloneDX 1.6, with the same bytes each time.
 *
 * @param packages sorted
 */
export function describePackages(
  { name, version, license, dependencies: direct }: Product,
  packages: readonly LockedPackage[],
): string {
  const root = `pkg:npm/${name}@${version}`;
  const components = packages.map((each) => ({
    type: 'library',
    'bom-ref': toRef(each),
    name: each.name,
    version: each.version,
    purl: toPurl(each),
    ...(each.license && { licenses: [{ expression: each.license }] }),
    ...(each.integrity && {
      hashes: [{ alg: 'SHA-512', content: Buffer.from(each.integrity.slice(7), 'base64').toString('hex') }],
    }),
    ...(each.resolved && { externalReferences: [{ type: 'distribution', url: each.resolved }] }),
  }));
  const dependencies = packages.map((each) => ({
    ref: toRef(each),
    dependsOn: each.dependencies
      .flatMap((dependency) => findPackage(packages, each.path, dependency) ?? [])
      .map(toRef)
      .sort(),
  }));
  const list = {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${toUuid(JSON.stringify([root, components]))}`,
    version: 1,
    metadata: {
      component: {
        type: 'application',
        'bom-ref': root,
        name,
        version,
        purl: root,
        licenses: [{ expression: license }],
      },
    },
    components,
    dependencies: [
      {
        ref: root,
        dependsOn: packages
          .filter(({ path, name }) => path === `node_modules/${name}` && name in direct)
          .map(toRef)
          .sort(),
      },
      ...dependencies,
    ],
  };
  return `${JSON.stringify(list, null, 2)}\n`;
}

/** Two packages can have the same name and version in different folders. */
function toRef(each: LockedPackage): string {
  const nested = each.path.slice(0, -each.name.length).split('node_modules/').filter(Boolean).join('');
  return nested ? `${toPurl(each)}#${nested.replace(/\/$/, '')}` : toPurl(each);
}

function toPurl({ name, version }: Pick<LockedPackage, 'name' | 'version'>): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`;
}

/** Finds the package that Node finds from a folder. */
function findPackage(
  packages: readonly LockedPackage[],
  from: string,
  name: string,
): LockedPackage | undefined {
  for (let folder = from; ; folder = folder.replace(/(^|\/)node_modules\/(@[^/]+\/)?[^/]+$/, '')) {
    const path = `${folder ? `${folder}/` : ''}node_modules/${name}`;
    const found = packages.find((each) => each.path === path);
    if (found || folder === '') return found;
  }
}

/** A UUID (version 8) that depends on a text. */
function toUuid(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-');
}
