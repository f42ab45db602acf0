import { z } from 'zod';
import { type ReadObject, type TypedRead, text, time } from '../../typed-read.ts';
import { filterText, limit } from './okta-id.ts';

/** `LogActor` and `LogTarget` in Okta's API description. */
const entity = z.object({
  id: text('The id.'),
  type: text('The type, such as `User`.'),
  alternateId: text('Another id, such as the login.'),
  displayName: text('The name for display.'),
});

/** `LogEvent` in Okta's API description. */
const logEvent: ReadObject = {
  name: 'LogEvent',
  description: 'An event of the System Log of an Okta organisation.',
  schema: z.object({
    uuid: z.string().describe('The id.'),
    published: time('The time of the event.'),
    eventType: text('The type, such as `user.session.start`.'),
    severity: text('The severity: `DEBUG`, `INFO`, `WARN` or `ERROR`.'),
    displayMessage: text('A description for display.'),
    actor: entity.nullish().describe('Who or what caused the event.'),
    target: z.array(entity).nullish().describe('Who or what it happened to.'),
    outcome: z
      .object({
        result: text('The result, such as `SUCCESS`, `FAILURE` or `DENY`.'),
        reason: text('The reason for the result, such as `INVALID_CREDENTIALS`.'),
      })
      .nullish()
      .describe('The result of the action.'),
    client: z
      .object({
        ipAddress: text('The IP address.'),
        device: text('The type of device.'),
        zone: text('The network zone.'),
        userAgent: z
          .object({
            browser: text('The browser.'),
            os: text('The operating system.'),
            rawUserAgent: text('The header `User-Agent`.'),
          })
          .nullish()
          .describe('The program.'),
        geographicalContext: z
          .object({
            city: text('The city.'),
            state: text('The state or region.'),
            country: text('The country.'),
          })
          .nullish()
          .describe('The place of the IP address.'),
      })
      .nullish()
      .describe('The client of the request.'),
    transaction: z
      .object({ id: text('The id.'), type: text('The type: `WEB` or `JOB`.') })
      .nullish()
      .describe('The request or job to which the event belongs.'),
  }),
};

/** Reads of the System Log. */
export const logReads: readonly TypedRead[] = [
  {
    field: 'logEvents',
    description:
      'The events of the System Log. To read new events later, send the last `endCursor` again, without `until`.',
    path: '/api/v1/logs',
    arguments: {
      since: {
        schema: z.date().optional(),
        description: 'Events at this time or later. By default, those of the last seven days.',
      },
      until: { schema: z.date().optional(), description: 'Events before this time.' },
      filter: {
        schema: filterText,
        description: 'Events that match this filter expression: `eventType eq "user.session.start"`.',
      },
      q: { schema: filterText, description: 'Events with these words; case is ignored.' },
      sortOrder: {
        schema: z.enum(['ASCENDING', 'DESCENDING']).optional(),
        description: 'The order by time. By default, the earliest event comes first.',
        values: {
          ASCENDING: 'The earliest event comes first.',
          DESCENDING: 'The latest event comes first.',
        },
      },
    },
    object: logEvent,
    pages: { maxSize: 200, sizeParameter: limit },
  },
];
