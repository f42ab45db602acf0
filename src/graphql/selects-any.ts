import { type FieldNode, type GraphQLResolveInfo, visit } from 'graphql';

/** The part of the resolver's info with the selected fields. */
type FieldSelection = Pick<GraphQLResolveInfo, 'fieldNodes' | 'fragments'>;

const cache = new WeakMap<FieldNode, ReadonlySet<string>>();

/**
 * Whether a field with one of these names is selected anywhere below the current field. May return true although the field
 * is not needed: directives and types are ignored.
 */
export function selectsAny({ fieldNodes, fragments }: FieldSelection, names: ReadonlySet<string>): boolean {
  return fieldNodes.some((node) => {
    const selected = selectedNames(node, fragments);
    return [...names].some((name) => selected.has(name));
  });
}

function selectedNames(field: FieldNode, fragments: FieldSelection['fragments']): ReadonlySet<string> {
  const cached = cache.get(field);
  if (cached) return cached;
  const names = new Set<string>();
  const spread = new Set<string>();
  const collect = (node: FieldNode | FieldSelection['fragments'][string]): void => {
    visit(node, {
      Field: ({ name }) => void names.add(name.value),
      FragmentSpread: ({ name: { value } }) => {
        const fragment = fragments[value];
        if (!fragment || spread.has(value)) return;
        spread.add(value);
        collect(fragment);
      },
    });
  };
  collect(field);
  cache.set(field, names);
  return names;
}
