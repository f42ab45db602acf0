import { List, Paper, Text, Title } from '@mantine/core';
import type { AppOption, MethodOption } from '../use-options.ts';

/** Instructions for getting the credentials from the app. */
export function Guide({ option, method }: { option: AppOption; method: MethodOption }) {
  return (
    <Paper component="aside" withBorder p="md" aria-labelledby="guide">
      <Title order={2} size="h4" mb="sm" id="guide">
        What you need from {option.name}
      </Title>
      {method.steps.length > 0 && (
        <List type="ordered" spacing="sm" size="sm">
          {method.steps.map((step) => (
            <List.Item key={step}>{step}</List.Item>
          ))}
        </List>
      )}
      {method.fields.map(({ name, label, secret, whereToFind }) =>
        secret && method.steps.length > 0 ? null : (
          <Text key={name} size="sm" mt="md">
            <b>{label}</b>: {whereToFind}
          </Text>
        ),
      )}
      <Text size="sm" c="dimmed" mt="md">
        {method.description}
      </Text>
    </Paper>
  );
}
