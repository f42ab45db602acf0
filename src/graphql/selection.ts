import {
  type FieldNode,
  type FragmentSpreadNode,
  GraphQLIncludeDirective,
  type GraphQLResolveInfo,
  GraphQLSkipDirective,
  getDirectiveValues,
  type InlineFragmentNode,
  Kind,
  type SelectionSetNode,
} from 'graphql';

type Info = Pick<GraphQLResolveInfo, 'fieldNodes' | 'fragments' | 'variableValues'>;

/**
 * Returns the paths of the leaf fields that an operation selects below `field` of the current field, such as
 * `credentials.instanceUrl`, or without it, below the current field. Includes fragments on all types; excludes fields that
 * `@skip` and `@include` leave out.
 */
export function selectedPaths(info: Info, field?: string): string[] {
  return collectPaths(info, field, false);
}

/**
 * Returns the same paths, and those of the objects that have the leaf fields: an object is selected also if only its
 * `__typename` is, or none of its fields.
 */
export function selectedPathsWithObjects(info: Info, field?: string): string[] {
  return collectPaths(info, field, true);
}

function collectPaths(
  { fieldNodes, fragments, variableValues }: Info,
  field: string | undefined,
  withObjects: boolean,
): string[] {
  const paths = new Set<string>();
  const spread = new Set<string>();
  const isSkipped = (node: FieldNode | FragmentSpreadNode | InlineFragmentNode) =>
    getDirectiveValues(GraphQLSkipDirective, node, variableValues)?.if === true ||
    getDirectiveValues(GraphQLIncludeDirective, node, variableValues)?.if === false;
  const collect = (selectionSet: SelectionSetNode | undefined, path: readonly string[]): void => {
    for (const selection of selectionSet?.selections ?? []) {
      if (isSkipped(selection)) continue;
      if (selection.kind === Kind.FIELD) {
        const here = [...path, selection.name.value];
        if ((field !== undefined && here[0] !== field) || selection.name.value === '__typename') continue;
        const below = here.slice(field === undefined ? 0 : 1);
        const isListed = !selection.selectionSet || (withObjects && below.length > 0);
        if (isListed) paths.add(below.join('.'));
        collect(selection.selectionSet, here);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        collect(selection.selectionSet, path);
      } else {
        // Each fragment once at each path, so that nested fragments do not take exponential time.
        const key = `${selection.name.value} ${path.join('.')}`;
        if (spread.has(key)) continue;
        spread.add(key);
        collect(fragments[selection.name.value]?.selectionSet, path);
      }
    }
  };
  for (const { selectionSet } of fieldNodes) collect(selectionSet, []);
  return [...paths];
}
