import {
  type GraphQLArgument,
  type GraphQLInputField,
  type GraphQLInputType,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isRequiredInputField,
} from 'graphql';
import { EnumName, toLiteral } from './graphql.ts';
import type { Random } from './random.ts';

/** Existing values to request. */
export interface Examples {
  ids: readonly string[];
  names: readonly string[];
  cursors: readonly string[];
}

/** Argument values that pass validation and coercion, some of them in variables. */
export class ValidValues {
  readonly declarations: string[] = [];
  readonly variables: Record<string, unknown> = {};
  readonly #random: Random;
  readonly #examples: Examples;

  constructor(random: Random, examples: Examples) {
    this.#random = random;
    this.#examples = examples;
  }

  /** The value of an argument in a document: a literal or a variable. */
  argument({ name, type }: GraphQLArgument): string {
    return this.#random.isTrue(0.5) ? toLiteral(this.#value(type, name)) : this.#variable(type, name);
  }

  /** A variable for `@skip` and `@include`. */
  condition(): string {
    const hasDefault = this.#random.isTrue(0.5);
    const name = this.#declare(
      'Boolean',
      hasDefault && this.#random.isTrue(0.5),
      hasDefault && `${this.#random.isTrue(0.5)}`,
    );
    if (!hasDefault || this.#random.isTrue(0.5)) this.variables[name] = this.#random.isTrue(0.5);
    return `$${name}`;
  }

  #variable(type: GraphQLInputType, place: string): string {
    const hasDefault = this.#random.isTrue(0.4);
    // A nullable variable with a default is allowed for a non-null argument.
    const isNullable = isNonNullType(type)
      ? hasDefault && this.#random.isTrue(0.5)
      : this.#random.isTrue(0.7);
    const plain = getNullableType(type);
    const name = this.#declare(
      `${plain}`,
      isNullable,
      hasDefault && toLiteral(this.#plainValue(plain, place)),
    );
    if (isNullable && this.#random.isTrue(0.15)) this.variables[name] = null;
    else if (!(isNullable || hasDefault) || this.#random.isTrue(0.7))
      this.variables[name] = this.#plainValue(plain, place);
    return `$${name}`;
  }

  #declare(type: string, isNullable: boolean, fallback: string | false): string {
    const name = `v${this.declarations.length}`;
    this.declarations.push(
      `$${name}: ${type}${isNullable ? '' : '!'}${fallback === false ? '' : ` = ${fallback}`}`,
    );
    return name;
  }

  #value(type: GraphQLInputType, place: string): unknown {
    if (!isNonNullType(type) && this.#random.isTrue(0.1)) return null;
    return this.#plainValue(getNullableType(type), place);
  }

  #plainValue(type: GraphQLInputType, place: string): unknown {
    if (isListType(type)) return this.#random.list(3, () => this.#value(type.ofType, place));
    if (isEnumType(type)) return new EnumName(this.#random.pick(type.getValues()).name);
    if (isInputObjectType(type)) return this.#object(Object.values(type.getFields()));
    switch (`${type}`) {
      case 'UUID':
        return this.#random.pick(this.#examples.ids);
      case 'Boolean':
        return this.#random.isTrue(0.5);
      case 'Int':
        return this.#random.pick([1, 2, 3, 5, 0, -1]);
      case 'DateTime':
        return new Date(this.#random.below(2 ** 31) * 1_000).toISOString();
      default:
        return this.#random.pick(
          ['after', 'before'].includes(place) ? this.#examples.cursors : this.#examples.names,
        );
    }
  }

  #object(fields: readonly GraphQLInputField[]): Record<string, unknown> {
    const given = fields.filter((field) => isRequiredInputField(field) || this.#random.isTrue(0.3));
    return Object.fromEntries(given.map(({ name, type }) => [name, this.#value(type, name)]));
  }
}
