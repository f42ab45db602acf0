import { type FieldNode, type GraphQLResolveInfo, visit } from 'graphql';

/** What resolvers are told about what is asked. */
type FieldSelection = Pick<GraphQLResolveInfo, 'fieldNodes' | 'fragments'>;

const known = new WeakMap<FieldNode, ReadonlySet<string>>();

/**
 * Whether one of these fields is asked for anywhere below the one that is being resolved. It may be in vain, because of a
 * condition or as a field of the same name of something else.
 */
export function selectsAny({ fieldNodes, fragments }: FieldSelection, names: ReadonlySet<string>): boolean {
  return fieldNodes.some((node) => {
    const below = selectedNames(node, fragments);
    return [...names].some((name) => below.has(name));
  });
}

function selectedNames(field: FieldNode, fragments: FieldSelection['fragments']): ReadonlySet<string> {
  const found = known.get(field);
  if (found) return found;
  const names = new Set<string>();
  const spread = new Set<string>();
  const look = (node: FieldNode | FieldSelection['fragments'][string]): void => {
    visit(node, {
      Field: ({ name }) => void names.add(name.value),
      FragmentSpread: ({ name: { value } }) => {
        const fragment = fragments[value];
        if (!fragment || spread.has(value)) return;
        spread.add(value);
        look(fragment);
      },
    });
  };
  look(field);
  known.set(field, names);
  return names;
}
