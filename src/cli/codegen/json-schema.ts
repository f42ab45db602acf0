/** As much of JSON Schema as the OpenAPI document uses. */
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

/** The name of the schema that a `$ref` points to. */
export function schemaName({ $ref }: JsonSchema): string | undefined {
  return $ref?.replace('#/components/schemas/', '');
}

/** A type in words, with links to the schemas on the same page. */
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

/** The description of a schema, or of the alternative that has one, such as the type beside null. */
export function describe({ description, anyOf = [] }: JsonSchema): string {
  return description ?? anyOf.find((each) => each.description)?.description ?? '';
}

/** One member of an object, or of an object inside it. */
export interface Property {
  path: string;
  isRequired: boolean;
  member: JsonSchema;
}

/** The members of an object with those of the objects inside it, by their paths. */
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
