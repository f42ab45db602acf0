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

/** The maximum cost of an operation: a little more than two pages of 100 connections with all fields. */
export const maxCost = 30_000;

/** The most requests to apps that an operation can cause: a page of 20 with one request for each of its objects. */
export const maxAppRequests = 25;

const scalarCost = 1;
const objectCost = 2;
const factorPerLevel = 1.5;
/** The number of nodes on a page without `first` and `last`. */
const defaultPageSize = 20;
const defaultMaxPageSize = 100;

/** What the resolver of a field does, in the `extensions` of the field. */
export interface FieldCost {
  /** The requests to apps that it sends. Default: 0. */
  appRequests?: number;
  /** The largest value of `first`. Default: 100. */
  maxPageSize?: number;
  /** The size of a list without `first`. Default: 1. */
  listSize?: number;
}

/** An operation with its document and variables. */
export interface CostInput {
  document: DocumentNode;
  operation: OperationDefinitionNode;
  /** The raw values. Absent: the result is the maximum over all values, with every page at its maximum size. */
  variables?: Readonly<Record<string, unknown>>;
}

/**
 * Calculates the cost of an operation: 1 for a scalar, 2 for an object, 1.5 times as much with each level, multiplied by
 * the size of the page. The size of a page is `first` or `last`, as a literal, a variable or a default. The cost of each
 * fragment is calculated once, so that the time is linear in the size of the document.
 */
export function calculateCost(schema: GraphQLSchema, input: CostInput): number {
  return calculate(schema, input, {
    ofLeaf: () => scalarCost,
    ofObject: (_, children, pageSize) => (objectCost + factorPerLevel * children) * pageSize,
  });
}

/** Calculates the most requests to apps that an operation can cause, if every page is full. */
export function calculateAppRequests(schema: GraphQLSchema, input: CostInput): number {
  return calculate(schema, input, {
    ofLeaf: () => 0,
    ofObject: ({ appRequests = 0 }, children, pageSize) => appRequests + children * pageSize,
  });
}

function calculate(schema: GraphQLSchema, input: CostInput, measure: Measure): number {
  const { operation, selectionSet } = input.operation;
  const root = schema.getRootType(operation);
  return root ? new CostCalculation(schema, input, measure).costOfSelections(selectionSet, root) : 0;
}

/** How the costs of fields are added up. */
interface Measure {
  ofLeaf(): number;
  /** @param children the cost of the fields of one object */
  ofObject(field: FieldCost, children: number, pageSize: number): number;
}

class CostCalculation {
  readonly #schema: GraphQLSchema;
  readonly #operation: OperationDefinitionNode;
  readonly #variables: CostInput['variables'];
  readonly #measure: Measure;
  readonly #fragments = new Map<string, FragmentDefinitionNode>();
  readonly #fragmentCosts = new Map<string, number>();

  constructor(schema: GraphQLSchema, { document, operation, variables }: CostInput, measure: Measure) {
    this.#schema = schema;
    this.#measure = measure;
    this.#operation = operation;
    this.#variables = variables;
    for (const each of document.definitions)
      if (each.kind === Kind.FRAGMENT_DEFINITION) this.#fragments.set(each.name.value, each);
  }

  costOfSelections({ selections }: SelectionSetNode, type: GraphQLCompositeType): number {
    let cost = 0;
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) cost += this.#costOfField(selection, type);
      else if (selection.kind === Kind.FRAGMENT_SPREAD) cost += this.#costOfFragment(selection.name.value);
      else
        cost += this.costOfSelections(
          selection.selectionSet,
          this.#findType(selection.typeCondition) ?? type,
        );
    }
    return cost;
  }

  #costOfField(node: FieldNode, parent: GraphQLCompositeType): number {
    const field = findField(parent, node.name.value);
    const type = field && getNamedType(field.type);
    if (!field || !node.selectionSet || !isCompositeType(type)) return this.#measure.ofLeaf();
    const children = this.costOfSelections(node.selectionSet, type);
    return this.#measure.ofObject(field.extensions as FieldCost, children, this.#pageSize(field, node));
  }

  #costOfFragment(name: string): number {
    const cached = this.#fragmentCosts.get(name);
    if (cached !== undefined) return cached;
    const fragment = this.#fragments.get(name);
    const type = this.#findType(fragment?.typeCondition);
    const cost = fragment && type ? this.costOfSelections(fragment.selectionSet, type) : 0;
    this.#fragmentCosts.set(name, cost);
    return cost;
  }

  #findType(node: FragmentDefinitionNode['typeCondition'] | undefined): GraphQLCompositeType | undefined {
    const type = node && this.#schema.getType(node.name.value);
    return isCompositeType(type) ? type : undefined;
  }

  /** `listSize` for a field that is not a page. */
  #pageSize(field: GraphQLField<unknown, unknown>, node: FieldNode): number {
    const { maxPageSize, listSize = 1 } = field.extensions as FieldCost;
    if (!field.args.some(({ name }) => name === 'first')) return listSize;
    const sizes = node.arguments?.filter(({ name }) => name.value === 'first' || name.value === 'last') ?? [];
    const numbers = sizes
      .map(({ value }) => this.#toNumber(value, maxPageSize))
      .filter((size) => size !== undefined);
    return numbers.length > 0 ? Math.max(1, ...numbers) : defaultPageSize;
  }

  /** Undefined for null and for an absent variable without a default. */
  #toNumber(value: ValueNode, maxPageSize = defaultMaxPageSize): number | undefined {
    if (value.kind === Kind.INT) return Number(value.value);
    if (value.kind !== Kind.VARIABLE) return undefined;
    if (!this.#variables) return maxPageSize;
    const name = value.name.value;
    const variable = Object.hasOwn(this.#variables, name) ? this.#variables[name] : undefined;
    if (variable !== undefined) return typeof variable === 'number' ? variable : undefined;
    const definition = this.#operation.variableDefinitions?.find(
      ({ variable }) => variable.name.value === name,
    );
    return definition?.defaultValue && this.#toNumber(definition.defaultValue);
  }
}

function findField(type: GraphQLCompositeType, name: string): GraphQLField<unknown, unknown> | undefined {
  return isObjectType(type) || isInterfaceType(type) ? type.getFields()[name] : undefined;
}
