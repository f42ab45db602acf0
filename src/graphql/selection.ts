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
 * The paths of the leaves that an operation selects below `field` of the payload that is being resolved, such as
 * `credentials.instanceUrl`. Fragments count whatever type they are on; what `@skip` and `@include` leave out does not.
 */
export function selectedPaths({ fieldNodes, fragments, variableValues }: Info, field: string): string[] {
  const paths = new Set<string>();
  const spread = new Set<string>();
  const isLeftOut = (node: FieldNode | FragmentSpreadNode | InlineFragmentNode) =>
    getDirectiveValues(GraphQLSkipDirective, node, variableValues)?.if === true ||
    getDirectiveValues(GraphQLIncludeDirective, node, variableValues)?.if === false;
  const collect = (selectionSet: SelectionSetNode | undefined, path: readonly string[]): void => {
    for (const selection of selectionSet?.selections ?? []) {
      if (isLeftOut(selection)) continue;
      if (selection.kind === Kind.FIELD) {
        const here = [...path, selection.name.value];
        if (here[0] !== field || selection.name.value === '__typename') continue;
        if (selection.selectionSet) collect(selection.selectionSet, here);
        else paths.add(here.slice(1).join('.'));
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        collect(selection.selectionSet, path);
      } else {
        // Once in each place is enough, however often fragments that spread each other come there.
        const place = `${selection.name.value} ${path.join('.')}`;
        if (spread.has(place)) continue;
        spread.add(place);
        collect(fragments[selection.name.value]?.selectionSet, path);
      }
    }
  };
  for (const { selectionSet } of fieldNodes) collect(selectionSet, []);
  return [...paths];
}
