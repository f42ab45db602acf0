import { codeMediaType, exchangePath } from '../auth/sign-in-codes.ts';

/**
 * How GraphiQL's page gets an API key: from a one-time code in its address, from what the dashboard keeps in this tab, or
 * from a person. The server puts none into it. The key stays out of the document: requests get it on their way out.
 */
export const signInMarkup = `
<style>
  body { display: flex; flex-direction: column; height: 100vh; margin: 0; }
  #root { flex: 1; min-height: 0; height: auto !important; }
  #root .graphiql-container { height: 100%; }
  #sign-in { font: 14px/1.4 system-ui, sans-serif; }
  #sign-in form { max-width: 26rem; margin: 15vh auto 0; padding: 1.5rem; display: grid; gap: .75rem;
    border: 1px solid #8886; border-radius: 8px; }
  #sign-in h1 { font-size: 1.25rem; margin: 0; }
  #sign-in p { margin: 0; }
  #sign-in input[type=password] { font: inherit; padding: .4rem; width: 100%; box-sizing: border-box; }
  #sign-in button { font: inherit; padding: .35rem .8rem; cursor: pointer; }
  #sign-in .bar { display: flex; gap: 1rem; align-items: center; justify-content: flex-end; padding: .25rem .75rem;
    border-bottom: 1px solid #8884; }
  #sign-in [role=alert] { color: #c2255c; }
  @media (prefers-color-scheme: dark) { body:has(form) { background: #212a3b; color: #eee; } #sign-in [role=alert] { color: #ff8787; } }
</style>
<div id="sign-in"></div>
<template id="sign-in-form">
  <form>
    <h1>Sign in to GraphiQL</h1>
    <p role="alert" hidden></p>
    <label>API key <input name="key" type="password" autocomplete="off" spellcheck="false" required autofocus></label>
    <label><input name="keep" type="checkbox"> Keep me signed in until I close this tab</label>
    <button>Sign in</button>
    <button type="button" name="skip">Continue without a key, and set the header Authorization yourself</button>
    <p>In development, the terminal prints an address that signs this browser in, and says where the key is.</p>
  </form>
</template>
<template id="sign-in-bar">
  <div class="bar"><span role="status"></span> <a href="./">Dashboard</a> <button type="button">Sign out</button></div>
</template>`;

/** Where the dashboard keeps what it signs in with; see `src/dashboard/session/credential.ts`. */
const kept = 'app-connections.credential';

/** Runs before GraphiQL and defines `startGraphiQL`, which renders it once there is a key, or once none is wanted. */
export const signInScript = `
(() => {
  const [, code] = /^#code=(.*)$/.exec(location.hash) ?? [];
  if (code !== undefined) history.replaceState(null, '', location.pathname + location.search);
  const keep = {
    read: () => JSON.parse(sessionStorage.getItem('${kept}') ?? 'null')?.secret,
    write: (secret) => sessionStorage.setItem('${kept}', JSON.stringify({ secret, isToken: false })),
    clear: () => sessionStorage.removeItem('${kept}'),
  };
  const placeholder = 'Bearer <your API key>';
  let key;
  const send = window.fetch.bind(window);
  const place = () => document.getElementById('sign-in');
  const show = (id) => {
    place().replaceChildren(document.getElementById(id).content.cloneNode(true));
    return place();
  };

  // What somebody writes under Headers goes before.
  window.fetch = async (input, init) => {
    const request = new Request(input, init);
    // Nobody has filled it in yet, and in development the schema is there for everybody.
    if (request.headers.get('authorization') === placeholder) request.headers.delete('authorization');
    if (!key || new URL(request.url).origin !== location.origin || request.headers.has('authorization')) {
      return send(request);
    }
    request.headers.set('authorization', 'Bearer ' + key);
    const response = await send(request);
    if (response.status === 401) {
      keep.clear();
      place().querySelector('[role=status]').textContent = 'The server does not accept the API key any more.';
    }
    return response;
  };

  const exchange = async () => {
    const response = await send('${exchangePath}', {
      method: 'POST',
      headers: { 'content-type': '${codeMediaType}' },
      body: JSON.stringify({ code }),
      redirect: 'error',
    }).catch(() => undefined);
    if (!response) return 'The server cannot be reached.';
    if (!response.ok) return 'The address was used, has expired, or is of a server that was stopped. Use the API key.';
    key = (await response.json()).apiKey;
    keep.write(key);
  };

  const ask = (problem) => new Promise((resolve) => {
    const form = show('sign-in-form').querySelector('form');
    const alert = form.querySelector('[role=alert]');
    const complain = (text) => { alert.hidden = !text; alert.textContent = text; };
    complain(problem ?? '');
    form.skip.onclick = () => { place().replaceChildren(); resolve(); };
    form.onsubmit = async (event) => {
      event.preventDefault();
      const typed = form.key.value.trim();
      if (/[^\\x21-\\x7e]/.test(typed)) return complain('An API key has no spaces, and only letters, digits and signs.');
      const response = await send(location.pathname, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: 'Bearer ' + typed },
        body: '{"query":"{ viewer { __typename } }"}',
      }).catch(() => undefined);
      if (!response) return complain('The server cannot be reached.');
      if (!response.ok) return complain((await response.json().catch(() => undefined))?.errors?.[0]?.message
        ?? 'The server does not accept this API key.');
      key = typed;
      if (form.keep.checked) keep.write(key);
      resolve();
    };
  });

  window.startGraphiQL = async (options) => {
    const problem = code === undefined ? undefined : await exchange();
    key ??= problem ? undefined : keep.read();
    if (!key) await ask(problem);
    if (key) {
      const bar = show('sign-in-bar');
      bar.querySelector('[role=status]').textContent = 'Signed in with an API key, which requests carry by themselves.';
      bar.querySelector('button').onclick = () => { keep.clear(); location.reload(); };
    }
    const headers = key ? {} : { Authorization: placeholder };
    YogaGraphiQL.renderYogaGraphiQL(document.getElementById('root'), {
      ...options,
      headers: JSON.stringify(headers, null, 2),
      defaultEditorToolsVisibility: key ? 'variables' : 'headers',
    });
  };
})();`;
