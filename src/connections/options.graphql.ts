import type { App, Field, Method } from '../apps/app.ts';
import type { Builder } from '../graphql/builder.ts';
import { callerOf } from '../graphql/context.ts';
import type { ConnectionTypes } from './types.graphql.ts';

/** `appConnectionOptions`: all that a client needs to draw a form for an app that it has never heard of. */
export function defineConnectionOptions(builder: Builder, types: ConnectionTypes): void {
  const { AppEnum } = types;
  const Method = defineMethod(builder, types);
  const Option = builder.objectRef<App>('AppConnectionOption').implement({
    description: 'An app that can be connected.',
    fields: (t) => ({
      app: t.field({ type: AppEnum, description: 'The app.', resolve: ({ id }) => id }),
      name: t.exposeString('name', { description: 'What people call it.' }),
      description: t.exposeString('description', { description: 'What it is.' }),
      icon: t.string({
        nullable: true,
        description:
          'A drawing of it: the path of an SVG of 24 by 24, filled by the even-odd rule. Null if there is none.',
        resolve: ({ icon }) => icon,
      }),
      methods: t.field({
        type: [Method],
        description: 'The ways in which it lets us in, the preferred one first.',
        resolve: ({ methods }) => [...methods],
      }),
    }),
  });
  builder.queryField('appConnectionOptions', (t) =>
    t.field({
      type: [Option],
      description: 'The apps that can be connected, and what each of them needs. Any valid API key may ask.',
      resolve: (_, __, context) => {
        callerOf(context);
        return [...context.connections.apps];
      },
    }),
  );
}

function defineMethod(builder: Builder, { MethodEnum }: ConnectionTypes) {
  const CredentialsField = defineField(builder);
  return builder.objectRef<Method>('AppConnectionMethodOption').implement({
    description: 'A way in which an app lets us in.',
    fields: (t) => ({
      method: t.field({ type: MethodEnum, description: 'The method.', resolve: ({ id }) => id }),
      label: t.exposeString('label', { description: 'What a form calls it.' }),
      description: t.exposeString('description', { description: 'What it is, and what to know about it.' }),
      steps: t.stringList({
        description: 'How to get in the app what has to be filled in, step by step; may be empty.',
        resolve: ({ steps }) => [...(steps ?? [])],
      }),
      fields: t.field({
        type: [CredentialsField],
        description: 'What has to be filled in, in the order in which a form asks for it.',
        resolve: ({ fields }) => Object.entries(fields).map(([name, field]) => ({ ...field, name })),
      }),
    }),
  });
}

function defineField(builder: Builder) {
  const Kind = builder.enumType('AppConnectionFieldKind', {
    description: 'What is typed into a field.',
    values: {
      TEXT: { description: 'A line of text.' },
      URL: { description: 'A web address.' },
      SECRET: { description: 'A line of text that nobody may look at while it is typed.' },
    },
  });
  return builder.objectRef<Field & { name: string }>('AppConnectionField').implement({
    description: 'One part of the credentials, described so that a form can be drawn for it.',
    fields: (t) => ({
      name: t.exposeString('name', { description: "Its name in the app's `…CredentialsInput`." }),
      label: t.exposeString('label', { description: 'What a form calls it.' }),
      kind: t.expose('kind', { type: Kind, description: 'What is typed into it.' }),
      required: t.exposeBoolean('required', { description: 'Whether it has to be filled in.' }),
      secret: t.boolean({
        description:
          'Whether it goes in and never comes out; everybody who may read connections sees the rest.',
        resolve: ({ kind }) => kind === 'SECRET',
      }),
      placeholder: t.exposeString('placeholder', { description: 'What stands in it while it is empty.' }),
      help: t.exposeString('help', { description: 'What it is, for the person who has to fill it in.' }),
      whereToFind: t.exposeString('whereToFind', { description: 'Where in the app to find it.' }),
    }),
  });
}
