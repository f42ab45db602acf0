import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  type GraphQLField,
  type GraphQLSchema,
  getNamedType,
  isCompositeType,
  isInterfaceType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type SelectionSetNode,
  type ValueNode,
} from 'graphql';

/** What an operation may cost: two pages of 100 connections with everything in them, and change. */
export const maxCost = 30_000;

const scalarCost = 1;
const objectCost = 2;
const factorPerLevel = 1.5;
/** How many nodes a page has, unless the caller says otherwise. */
const defaultPageSize = 20;
const maxPageSize = 100;

/** What the cost of an operation depends on. */
export interface CostInput {
  document: DocumentNode;
  operation: OperationDefinitionNode;
  /** As they came; they have to fit their types. Absent: whatever they are, so that each page is as large as it can be. */
  variables?: Readonly<Record<string, unknown>>;
}

/**
 * The cost of an operation: 1 for a scalar, 2 for an object, 1.5 times as much with each level, and a page as often as it
 * may have nodes. The size of a page is `first` or `last`, be it a literal, a variable or a default. Each fragment is
 * counted once and for all, so that this takes no longer than reading the document.
 */
export function calculateCost(schema: GraphQLSchema, input: CostInput): number {
  const { operation, selectionSet } = input.operation;
  const root = schema.getRootType(operation);
  return root ? new CostCalculation(schema, input).ofSelections(selectionSet, root) : 0;
}

class CostCalculation {
  readonly #schema: GraphQLSchema;
  readonly #operation: OperationDefinitionNode;
  readonly #variables: CostInput['variables'];
  readonly #fragments = new Map<string, FragmentDefinitionNode>();
  readonly #ofFragments = new Map<string, number>();

  constructor(schema: GraphQLSchema, { document, operation, variables }: CostInput) {
    this.#schema = schema;
    this.#operation = operation;
    this.#variables = variables;
    for (const each of document.definitions)
      if (each.kind === Kind.FRAGMENT_DEFINITION) this.#fragments.set(each.name.value, each);
  }

  ofSelections({ selections }: SelectionSetNode, type: GraphQLCompositeType): number {
    let cost = 0;
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) cost += this.#ofField(selection, type);
      else if (selection.kind === Kind.FRAGMENT_SPREAD) cost += this.#ofFragment(selection.name.value);
      else
        cost += this.ofSelections(selection.selectionSet, this.#typeNamed(selection.typeCondition) ?? type);
    }
    return cost;
  }

  #ofField(node: FieldNode, parent: GraphQLCompositeType): number {
    const field = findField(parent, node.name.value);
    const type = field && getNamedType(field.type);
    if (!field || !node.selectionSet || !isCompositeType(type)) return scalarCost;
    const below = factorPerLevel * this.ofSelections(node.selectionSet, type);
    return (objectCost + below) * this.#pageSize(field, node);
  }

  #ofFragment(name: string): number {
    const known = this.#ofFragments.get(name);
    if (known !== undefined) return known;
    const fragment = this.#fragments.get(name);
    const type = this.#typeNamed(fragment?.typeCondition);
    const cost = fragment && type ? this.ofSelections(fragment.selectionSet, type) : 0;
    this.#ofFragments.set(name, cost);
    return cost;
  }

  #typeNamed(node: FragmentDefinitionNode['typeCondition'] | undefined): GraphQLCompositeType | undefined {
    const type = node && this.#schema.getType(node.name.value);
    return isCompositeType(type) ? type : undefined;
  }

  /** 1 for what is no page. */
  #pageSize(field: GraphQLField<unknown, unknown>, node: FieldNode): number {
    if (!field.args.some(({ name }) => name === 'first')) return 1;
    const sizes = node.arguments?.filter(({ name }) => name.value === 'first' || name.value === 'last') ?? [];
    const given = sizes.map(({ value }) => this.#numberIn(value)).filter((size) => size !== undefined);
    return given.length > 0 ? Math.max(1, ...given) : defaultPageSize;
  }

  /** Undefined for null and for what is absent. */
  #numberIn(value: ValueNode): number | undefined {
    if (value.kind === Kind.INT) return Number(value.value);
    if (value.kind !== Kind.VARIABLE) return undefined;
    if (!this.#variables) return maxPageSize;
    const name = value.name.value;
    const given = Object.hasOwn(this.#variables, name) ? this.#variables[name] : undefined;
    if (given !== undefined) return typeof given === 'number' ? given : undefined;
    const definition = this.#operation.variableDefinitions?.find(
      ({ variable }) => variable.name.value === name,
    );
    return definition?.defaultValue && this.#numberIn(definition.defaultValue);
  }
}

function findField(type: GraphQLCompositeType, name: string): GraphQLField<unknown, unknown> | undefined {
  return isObjectType(type) || isInterfaceType(type) ? type.getFields()[name] : undefined;
}
