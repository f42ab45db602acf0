import { Checkbox, TextInput } from '@mantine/core';
import type { Issue } from '../common/errors.ts';
import type { FieldOption } from './use-options.ts';

/** The error of each field, by name; the empty name has errors of no field. */
export type FieldErrors = Readonly<Record<string, string>>;

/**
 * Groups issues by field, which is the last name in their path: `apiToken` for `input.credentials.apiToken`. All tags are one field,
 * and an owner is not the connection: `owner.name`.
 */
export function errorsByField(issues: readonly Issue[]): FieldErrors {
  const errors: Record<string, string> = {};
  for (const { path, message } of issues) {
    // The error of a member of a list is one of the list.
    const [last = '', parent] = path.filter((part) => !/^\d+$/.test(String(part))).toReversed();
    const field = path.includes('tags') ? 'tags' : parent === 'owner' ? `owner.${last}` : String(last);
    errors[field] = errors[field] ? `${errors[field]} ${message}` : message;
  }
  return errors;
}

/** Focuses the first invalid field, after React has rendered the errors. */
export function focusFirstError(form: HTMLFormElement, errors: FieldErrors): void {
  const inputs = [...form.querySelectorAll('input')];
  requestAnimationFrame(() => inputs.find(({ name }) => errors[name])?.focus());
}

/** Reads the values of a form. */
export function readForm(form: HTMLFormElement): Record<string, string> {
  const entries = [...new FormData(form)];
  return Object.fromEntries(entries.map(([name, value]) => [name, typeof value === 'string' ? value : '']));
}

/** Clears secret fields, so that the page does not hold secrets after they are sent. */
export function clearSecrets(form: HTMLFormElement): void {
  for (const input of form.querySelectorAll<HTMLInputElement>('input[type=password]')) input.value = '';
}

interface CredentialFieldProps {
  field: FieldOption;
  error: string | undefined;
  defaultValue?: string | undefined;
  /** Whether the field gets the focus when its dialog opens. */
  isFirst?: boolean;
}

/**
 * A field of an app's credentials. It is uncontrolled, because React writes the value of a controlled input to an attribute.
 */
export function CredentialField({ field, error, defaultValue, isFirst }: CredentialFieldProps) {
  const { name, label, kind, required, secret, placeholder, help } = field;
  return (
    <TextInput
      name={name}
      type={secret ? 'password' : 'text'}
      inputMode={kind === 'URL' ? 'url' : 'text'}
      label={label}
      description={help}
      placeholder={placeholder}
      defaultValue={defaultValue}
      withAsterisk={required}
      aria-required={required}
      autoComplete="off"
      autoCapitalize="off"
      spellCheck={false}
      error={error}
      data-autofocus={isFirst || undefined}
    />
  );
}

/** Asks whether to go on although others use the connection, once the server has said so. */
export function AcknowledgeUse({ error }: { error: string | undefined }) {
  if (!error) return null;
  return <Checkbox name="acknowledgeUse" label="Yes, change it for all who use it" error={error} />;
}
