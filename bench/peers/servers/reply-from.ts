/** `@fastify/reply-from` in front of `OKTA_URL`, without any check. */
import replyFrom from '@fastify/reply-from';
import Fastify from 'fastify';
import { announce } from './work/announce.ts';

const fastify = Fastify();
await fastify.register(replyFrom, { base: process.env.OKTA_URL ?? '', undici: { pipelining: 1 } });
fastify.all('/*', (request, reply) => reply.from(request.raw.url));
announce(await fastify.listen({ host: '127.0.0.1', port: 0 }));
