/** The part of JSON Schema that the OpenAPI document uses. */
export interface JsonSchema {
  $ref?: string;
  type?: string | readonly string[];
  format?: string;
  const?: unknown;
  enum?: readonly unknown[];
  items?: JsonSchema;
  anyOf?: readonly JsonSchema[];
  oneOf?: readonly JsonSchema[];
  properties?: Readonly<Record<string, JsonSchema>>;
  required?: readonly string[];
  description?: string;
  minLength?: number;
  maxLength?: number;
}

/** Returns the name of the schema that `$ref` refers to. */
export function schemaName({ $ref }: JsonSchema): string | undefined {
  return $ref?.replace('#/components/schemas/', '');
}

/** Describes a type in words, with links to the schemas on the same page. */
export function describeType(schema: JsonSchema): string {
  const name = schemaName(schema);
  if (name) return `[${name}](#${name.toLowerCase()})`;
  const alternatives = schema.anyOf ?? schema.oneOf;
  if (alternatives) return [...new Set(alternatives.map(describeType))].join(' or ');
  if (schema.const !== undefined) return `\`${schema.const}\``;
  if (schema.enum) return schema.enum.map((value) => `\`${value}\``).join(', ');
  if (schema.format === 'uuid') return 'UUID';
  if (schema.format === 'date-time') return 'timestamp';
  if (schema.type === 'array') return `list of ${describeType(schema.items ?? {})}`;
  if (Array.isArray(schema.type)) return schema.type.join(' or ');
  return String(schema.type ?? 'any');
}

/** Returns the description of a schema, or of an alternative, such as the type beside null. */
export function describe({ description, anyOf = [] }: JsonSchema): string {
  return description ?? anyOf.find((each) => each.description)?.description ?? '';
}

/** A member of an object or of a nested object. */
export interface Property {
  path: string;
  isRequired: boolean;
  member: JsonSchema;
}

/** Lists the members of an object and of its nested objects by path. */
export function properties(schema: JsonSchema, prefix = ''): Property[] {
  const alternatives = [schema, ...(schema.oneOf ?? []), ...(schema.anyOf ?? [])];
  return alternatives.flatMap((each) =>
    Object.entries(each.properties ?? {}).flatMap(([name, member]) => {
      const path = `${prefix}${name}`;
      const isRequired = each.required?.includes(name) ?? false;
      return [
        { path, isRequired, member },
        ...properties(member, `${path}.`),
        ...properties(member.items ?? {}, `${path}[].`),
      ];
    }),
  );
}
