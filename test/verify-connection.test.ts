import { describe, expect, it } from 'vitest';
import { rateLimited, slowHeaders, tokenRejected } from './testkit/okta.ts';
import { errorsOf, type TestOrganisation } from './testkit/server.ts';
import { useServerWithTwoHosts, verifyMutation } from './testkit/two-hosts.ts';

interface Verified {
  verifyAppConnection: {
    appConnection: {
      version: number;
      verification: {
        status: string;
        checkedAt: string;
        lastVerifiedAt: string | null;
        failingSince: string | null;
        code: string | null;
      };
    };
  };
}

const fixture = useServerWithTwoHosts();
const { create, read } = fixture;

describe('verifying a connection again', () => {
  const verify = async ({ client }: TestOrganisation, id: string) =>
    (await client.request<Verified>(verifyMutation, { id })).verifyAppConnection.appConnection;

  it('stores the result, lastVerifiedAt and failingSince without a new version', async () => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation);
    const good = await verify(organisation, connection.id);
    expect(good).toMatchObject({
      version: 1,
      verification: { status: 'VERIFIED', failingSince: null, code: null },
    });
    expect(good.verification.lastVerifiedAt).toBe(good.verification.checkedAt);

    fixture.upstream.behave(tokenRejected);
    const bad = await verify(organisation, connection.id);
    expect(bad.verification).toMatchObject({
      status: 'REJECTED',
      code: 'CREDENTIALS_REJECTED',
      lastVerifiedAt: good.verification.checkedAt,
      failingSince: bad.verification.checkedAt,
    });
    const still = await verify(organisation, connection.id);
    expect(still.verification).toMatchObject({ failingSince: bad.verification.failingSince });
    expect(await read(organisation, connection.id)).toMatchObject({
      version: 1,
      verification: { status: 'REJECTED' },
      credentials: { tokenOwner: connection.credentials.tokenOwner },
    });
  });

  it.each([
    ['does not answer', slowHeaders],
    ['is rate limiting', rateLimited(new Date(Date.now() + 60_000))],
  ])('reports UNREACHABLE, not REJECTED, when Okta %s', async (_, behaviour) => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation);
    fixture.upstream.behave(behaviour);
    expect((await verify(organisation, connection.id)).verification).toMatchObject({
      status: 'UNREACHABLE',
      lastVerifiedAt: connection.verification.checkedAt,
    });
  });

  it('requires connections:verify', async () => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation);
    const client = fixture.server.clientFor(
      await organisation.newKey(['connections:read', 'connections:write']),
    );
    const [error] = await errorsOf(client.request(verifyMutation, { id: connection.id }));
    expect(error?.extensions.code).toBe('FORBIDDEN');
  });
});
