/** What the configuration reference says about one variable. Markdown; links are relative to docs/operations/. */
export interface VariableDocs {
  group: VariableGroup;
  /** What the variable does, as a sentence. */
  description: string;
  /** An example of a value, if the description alone does not show its format. */
  example?: string;
  /** The default, where it is not a constant of the schema. */
  default?: string;
}

/** The headings of the configuration reference, in their order. */
export const variableGroups = [
  'Server',
  'HTTP',
  'Database and storage',
  'Encryption keys',
  'Authentication',
  'Outbound traffic',
  'Limits',
  'Logging and audit',
  'Traces',
] as const;

export type VariableGroup = (typeof variableGroups)[number];

/** The documentation of a variable that names a file with the value of another one. */
export const fileInsteadOf = (name: string, group: VariableGroup): VariableDocs => ({
  group,
  description: `A file that holds \`${name}\` instead, on one line. The server reads it at start. Excludes \`${name}\`.`,
  default: 'none',
});
