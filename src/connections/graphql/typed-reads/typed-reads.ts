import type { GraphQLResolveInfo } from 'graphql';
import { type App, appTypeName } from '../../../apps/app.ts';
import { type AppReads, pathParameters, type ReadObject, type TypedRead } from '../../../apps/typed-read.ts';
import { currentTimeMs } from '../../../common/clock.ts';
import type { Builder } from '../../../graphql/builder.ts';
import { type Context, requireCaller } from '../../../graphql/context.ts';
import type { FieldCost } from '../../../graphql/cost.ts';
import { capitalise } from '../../../graphql/schema-objects.ts';
import { selectedPathsWithObjects } from '../../../graphql/selection.ts';
import { readConsumerLabel } from '../../../http/consumer-label.ts';
import type { ReceivedResponse } from '../../use/execute-request.ts';
import { DocumentReads } from '../../use/typed-reads/document-reads.ts';
import {
  type Members,
  type ReadNode,
  type ReadPageOptions,
  type ReadSource,
  readObject,
  readPage,
} from '../../use/typed-reads/read.ts';
import type { ConnectionTypes } from '../types.ts';
import { authenticateAgain, readWaitSeconds } from '../use.ts';
import { defineReadArguments, defineReadPageArguments } from './arguments.ts';
import { defineReadObject, type ReadNodeRef } from './object-types.ts';
import { defineReadPage } from './page-types.ts';

/** Defines the fields with which callers read from apps, as the apps declare them. */
export function defineTypedReads(builder: Builder, apps: readonly App[], types: ConnectionTypes): void {
  for (const app of apps) if (app.reads) defineReadsOfApp(builder, app, app.reads, types);
}

function defineReadsOfApp(builder: Builder, app: App, reads: AppReads, types: ConnectionTypes): void {
  const prefix = appTypeName(app);
  const objects = new Set(reads.fields.flatMap(({ object, parent = object }) => [object, parent]));
  const listed = new Set(reads.fields.filter(({ pages }) => pages).map(({ object }) => object));
  const nodes = new Map<ReadObject, ReadNodeRef>();
  const pages = new Map<ReadObject, ReturnType<typeof defineReadPage>>();
  for (const object of objects) {
    const Node = defineReadObject(builder, `${prefix}${object.name}`, object);
    nodes.set(object, Node);
    if (listed.has(object)) pages.set(object, defineReadPage(builder, types, Node));
  }
  for (const read of reads.fields) {
    const { parent, field, description, pages: paging } = read;
    const cost: FieldCost = { appRequests: 1, ...(paging && { maxPageSize: paging.maxSize }) };
    const options = {
      // A list has a page in place of a node. Their resolvers differ likewise.
      type: (paging ? pages : nodes).get(read.object) as ReadNodeRef,
      nullable: true,
      description: parent ? description : `${description} Scope: connections:use.`,
      extensions: { ...cost },
    } as const;
    const declared = defineReadArguments(builder, prefix, read);
    const paged = paging && defineReadPageArguments(paging);
    const resolve = createResolver(app, reads, read);
    if (parent) {
      builder.objectField(nodes.get(parent) as ReadNodeRef, field, (t) =>
        t.field({
          ...options,
          args: { ...declared(t), ...paged?.(t) },
          resolve: ({ connectionId, members }, args, context, info) =>
            resolve({ connectionId, parent: members, args }, context, info),
        }),
      );
    } else {
      const name = `${prefix.charAt(0).toLowerCase()}${prefix.slice(1)}${capitalise(field)}`;
      const connectionId = {
        type: 'UUID',
        required: true,
        description: 'The id of the connection.',
      } as const;
      builder.queryField(name, (t) =>
        t.field({
          ...options,
          args: { connectionId: t.arg(connectionId), ...declared(t), ...paged?.(t) },
          resolve: (_, { connectionId, ...args }, context, info) =>
            resolve({ connectionId, args }, context, info),
        }),
      );
    }
  }
}

interface ReadField {
  connectionId: string;
  /** The members of the object that has the field. */
  parent?: Members;
  args: Members;
}

function createResolver(app: App, reads: AppReads, read: TypedRead) {
  return async (
    { connectionId, parent, args }: ReadField,
    context: Context,
    info: GraphQLResolveInfo,
  ): Promise<ReadNode> => {
    const source = {
      ...{ deps: context.connections, caller: requireCaller(context), app, reads, connectionId },
      ...readsOfDocument(context),
      label: readConsumerLabel(context.req.headers),
      authenticateAgain: authenticateAgain(context),
      signal: context.request.signal,
    };
    const values = { arguments: args, ...(parent && { parent }) };
    const paths = selectedMembers(info, reads, read);
    return (
      read.pages
        ? await readPage(source, read, values, args as unknown as ReadPageOptions, paths)
        : await readObject(source, read, values, paths)
    ) as ReadNode;
  };
}

/** The requests of each document, by its context, and until when they wait for rate budgets. */
const documents = new WeakMap<Context, Pick<ReadSource, 'document' | 'waitUntil'>>();

function readsOfDocument(context: Context): Pick<ReadSource, 'document' | 'waitUntil'> {
  const known = documents.get(context);
  if (known) return known;
  const waitUntil = currentTimeMs() + readWaitSeconds(context) * 1_000;
  const reads = { document: new DocumentReads<ReceivedResponse>(), waitUntil };
  documents.set(context, reads);
  return reads;
}

/** Returns the members of an object that a field needs: those that are selected, and those in paths of reads about it. */
function selectedMembers(info: GraphQLResolveInfo, { fields }: AppReads, read: TypedRead): Set<string> {
  const selected = read.pages
    ? [
        ...selectedPathsWithObjects(info, 'nodes'),
        ...selectedPathsWithObjects(info, 'edges')
          .filter((path) => path.startsWith('node.'))
          .map((path) => path.slice('node.'.length)),
      ]
    : selectedPathsWithObjects(info);
  const nested = new Map(
    fields.filter(({ parent }) => parent === read.object).map((each) => [each.field, each]),
  );
  return new Set(
    selected.flatMap((path) => {
      const [name = ''] = path.split('.', 1);
      const about = nested.get(name);
      return about ? pathParameters(about.path) : [path];
    }),
  );
}
