import {
  type DocumentNode,
  type ExecutionResult,
  type FieldNode,
  GraphQLError,
  GraphQLScalarType,
  GraphQLSchema,
  getVariableValues,
  Kind,
  type OperationDefinitionNode,
  visit,
} from 'graphql';
import { compileQuery, isCompiledQuery } from 'graphql-jit';
import type { Plugin } from 'graphql-yoga';
import { remember } from '../remember.ts';
import type { Context } from './context.ts';

/** A document that Yoga has let through before, and a function made of it. */
export interface Compiled {
  document: DocumentNode;
  /** The name of its one operation, if it has one. */
  operationName: string | undefined;
  execute(context: Context, variables: Record<string, unknown>): ExecutionResult | Promise<ExecutionResult>;
}

/** One of the documents that have been carried out. */
interface Known {
  document: DocumentNode;
  uses: number;
  /** Null: it is not to be compiled. */
  compiled: Compiled | null | undefined;
}

/** Making a function takes as long as carrying out hundreds of requests, which a document has to be worth. */
const compiledAtUse = 10;
const maxDocuments = 200;
const maxLength = 10_000;

/**
 * Functions made of the documents that are carried out again and again: it takes several times as long to go through a
 * document for each answer. What is in here has been parsed, validated and found to be within the limits.
 */
export class CompiledDocuments {
  readonly #schema: GraphQLSchema;
  readonly #schemaToCompile: GraphQLSchema;
  /** By their text; those that came last by Yoga's way at the end. */
  readonly #known = new Map<string, Known>();

  constructor(schema: GraphQLSchema) {
    const { types, ...config } = schema.toConfig();
    this.#schema = schema;
    this.#schemaToCompile = new GraphQLSchema({ ...config, types: [...types, Coerced], assumeValid: true });
  }

  find(text: string): Compiled | undefined {
    return this.#known.get(text)?.compiled ?? undefined;
  }

  /** Takes note of a document that is about to be carried out. */
  note(document: DocumentNode): void {
    const text = document.loc?.source.body;
    if (text === undefined || text.length > maxLength) return;
    const known = this.#known.get(text) ?? { document, uses: 0, compiled: undefined };
    known.uses += 1;
    if (known.uses >= compiledAtUse && known.compiled === undefined) known.compiled = this.#compile(document);
    remember(this.#known, text, known, maxDocuments);
  }

  #compile(document: DocumentNode): Compiled | null {
    const operation = onlyOperationOf(document);
    if (!operation || operation.operation === 'subscription' || !isPlain(document)) return null;
    const made = compileQuery(this.#schemaToCompile, takingCoerced(document));
    if (!isCompiledQuery(made)) return null;
    const properly = properErrorsOf(document);
    const definitions = operation.variableDefinitions ?? [];
    return {
      document,
      operationName: operation.name?.value,
      execute: (context, variables) => {
        const { coerced, errors } = getVariableValues(this.#schema, definitions, variables);
        if (errors) return { errors };
        const result = made.query(undefined, context, coerced);
        return 'then' in result ? result.then(properly) : properly(result);
      },
    };
  }
}

/** Takes note of what Yoga carries out. */
export function useCompiling(documents: CompiledDocuments): Plugin<Context> {
  return { onExecute: ({ args }) => documents.note(args.document) };
}

function onlyOperationOf({ definitions }: DocumentNode): OperationDefinitionNode | undefined {
  const operations = definitions.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION);
  return operations.length === 1 ? operations[0] : undefined;
}

/**
 * Whether a document consists of names, numbers and punctuation, and asks for data. Code is made of it, in which no text
 * is to be that a caller has written, nor the one name that means something of its own in JavaScript.
 */
function isPlain(document: DocumentNode): boolean {
  let isPlain = true;
  const refuse = () => {
    isPlain = false;
  };
  visit(document, {
    ...{ StringValue: refuse, ObjectValue: refuse, ListValue: refuse },
    Name: ({ value }) => {
      if (value.startsWith('__') && value !== '__typename') refuse();
    },
  });
  return isPlain;
}

/** The type of variables that are coerced already. */
const Coerced = new GraphQLScalarType({ name: 'Coerced' });

/**
 * The same document, with variables that are taken as they are. graphql-jit has its own way to coerce them, which repeats
 * the values in its errors and knows of no defaults of input fields that may not be null.
 */
function takingCoerced(document: DocumentNode): DocumentNode {
  return visit(document, {
    VariableDefinition: ({ kind, variable }) => ({
      ...{ kind, variable },
      type: { kind: Kind.NAMED_TYPE, name: { kind: Kind.NAME, value: Coerced.name } },
    }),
  });
}

/** graphql-jit's errors know lines and columns and not what is there, of which graphql makes the same. */
function properErrorsOf(document: DocumentNode): (result: ExecutionResult) => ExecutionResult {
  const fields = new Map<string, FieldNode>();
  visit(document, {
    Field: (node) => {
      const { line, column } = node.loc?.startToken ?? {};
      fields.set(`${line}:${column}`, node);
    },
  });
  return ({ errors, data }) => {
    if (!errors) return { data };
    const proper = errors.map(({ message, path, originalError, locations = [] }) => {
      const nodes = locations.flatMap(({ line, column }) => fields.get(`${line}:${column}`) ?? []);
      return new GraphQLError(message, { nodes, path, originalError });
    });
    return { errors: proper, data };
  };
}
