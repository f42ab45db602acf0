import { Textarea, TextInput } from '@mantine/core';
import type { Annotations, Tag } from '../connections/annotations.ts';
import type { FieldErrors } from './fields.tsx';
import type { Connection } from './operations.ts';

/** Writes a tag as `key: value`. A key in which a space follows a colon is in quotation marks, which no key has. */
export function formatTag({ key, value }: Tag): string {
  return `${key.includes(': ') ? `"${key}"` : key}: ${value}`;
}

/** Parses tags, one on a line, as `formatTag` writes them, or as `key:value`. */
function parseTags(text: string): Tag[] {
  const lines = text.split('\n').map((line) => line.trim());
  const forms = [/^"(.+)":(?:\s+(.*))?$/, /^(.+?):(?:\s+(.*))?$/, /^([^:]+):(.*)$/];
  return lines.filter(Boolean).map((line) => {
    const [, key = line, value = ''] = forms.map((form) => form.exec(line)).find(Boolean) ?? [];
    return { key, value };
  });
}

/** Reads tags, owner and notes from the fields of a form, as far as it has them. */
export function toAnnotations(values: Readonly<Record<string, string>>): Annotations {
  const { tags, notes, 'owner.name': name, 'owner.email': email } = values;
  return {
    ...(tags !== undefined && { tags: parseTags(tags) }),
    ...(name !== undefined && email !== undefined && { owner: name || email ? { name, email } : null }),
    ...(notes !== undefined && { notes: notes || null }),
  };
}

interface AnnotationFieldsProps {
  errors: FieldErrors;
  connection?: Pick<Connection, 'tags' | 'owner'>;
}

/** The fields of tags and owner. */
export function AnnotationFields({ errors, connection }: AnnotationFieldsProps) {
  return (
    <>
      <Textarea
        name="tags"
        label="Tags"
        description="One on a line, as key: value."
        placeholder="env: prod"
        defaultValue={connection?.tags.map(formatTag).join('\n')}
        autosize
        minRows={2}
        spellCheck={false}
        error={errors.tags}
      />
      <TextInput
        name="owner.name"
        label="Owner"
        description="The person or the team to ask about this connection."
        defaultValue={connection?.owner?.name}
        error={errors['owner.name']}
      />
      <TextInput
        name="owner.email"
        label="E-mail address of the owner"
        inputMode="email"
        autoComplete="off"
        defaultValue={connection?.owner?.email}
        error={errors['owner.email']}
      />
    </>
  );
}
