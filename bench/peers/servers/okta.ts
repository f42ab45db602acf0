/** The product's fake Okta in a process of its own, which all servers call. */
import { startFakeOkta } from '../../../src/apps/okta/fake-okta.ts';
import { announce } from './work/announce.ts';

const { url } = await startFakeOkta();
announce(url);
