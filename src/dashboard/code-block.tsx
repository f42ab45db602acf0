import { Button, Code, CopyButton, Stack } from '@mantine/core';
import classes from './table.module.css';

/** Code with a button that copies it; `label` says what it is. */
export function CodeBlock({ text, label }: { text: string; label: string }) {
  return (
    <Stack gap="xs" align="start">
      <Code block tabIndex={0} aria-label={label} role="region" w="100%" className={classes.code}>
        {text}
      </Code>
      <Copy text={text} label={`Copy ${label}`} />
    </Stack>
  );
}

/** A button that copies a text. */
export function Copy({ text, label }: { text: string; label: string }) {
  return (
    <CopyButton value={text}>
      {({ copied, copy }) => (
        <Button variant="default" onClick={copy}>
          {copied ? 'Copied' : label}
        </Button>
      )}
    </CopyButton>
  );
}
