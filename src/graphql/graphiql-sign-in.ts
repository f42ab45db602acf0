import { codeMediaType, exchangePath } from '../auth/sign-in-codes.ts';

/**
 * The sign-in form of GraphiQL's page. The API key comes from a one-time code in the URL, from the dashboard's storage in
 * this tab, or from the user; the page itself never contains it. A wrapper of `fetch` adds it to requests.
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
    <button type="button" name="skip">Continue without a key and set the Authorization header yourself</button>
    <p>In development, the terminal shows a link that signs this browser in, and the file with the key.</p>
  </form>
</template>
<template id="sign-in-bar">
  <div class="bar"><span role="status"></span> <a href="./">Dashboard</a> <button type="button">Sign out</button></div>
</template>`;

/** The storage key of the dashboard's credential; see `src/dashboard/session/credential.ts`. */
const storageKey = 'app-connections.credential';

/** Defines `startGraphiQL`, which renders GraphiQL after sign-in, or after the user chose to continue without a key. */
export const signInScript = `
(() => {
  const [, code] = /^#code=(.*)$/.exec(location.hash) ?? [];
  if (code !== undefined) history.replaceState(null, '', location.pathname + location.search);
  const storage = {
    read: () => JSON.parse(sessionStorage.getItem('${storageKey}') ?? 'null')?.secret,
    write: (secret) => sessionStorage.setItem('${storageKey}', JSON.stringify({ secret, isToken: false })),
    clear: () => sessionStorage.removeItem('${storageKey}'),
  };
  const placeholder = 'Bearer <your API key>';
  let key;
  const send = window.fetch.bind(window);
  const container = () => document.getElementById('sign-in');
  const show = (id) => {
    container().replaceChildren(document.getElementById(id).content.cloneNode(true));
    return container();
  };

  // An Authorization header from the Headers tab has precedence.
  window.fetch = async (input, init) => {
    const request = new Request(input, init);
    // Without the placeholder, introspection works without a key in development.
    if (request.headers.get('authorization') === placeholder) request.headers.delete('authorization');
    if (!key || new URL(request.url).origin !== location.origin || request.headers.has('authorization')) {
      return send(request);
    }
    request.headers.set('authorization', 'Bearer ' + key);
    const response = await send(request);
    if (response.status === 401) {
      storage.clear();
      container().querySelector('[role=status]').textContent = 'The API key is no longer valid.';
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
    if (!response.ok) return 'The sign-in link is used, expired, or from an earlier start of the server. Use the API key.';
    key = (await response.json()).apiKey;
    storage.write(key);
  };

  const ask = (problem) => new Promise((resolve) => {
    const form = show('sign-in-form').querySelector('form');
    const alert = form.querySelector('[role=alert]');
    const showError = (text) => { alert.hidden = !text; alert.textContent = text; };
    showError(problem ?? '');
    form.skip.onclick = () => { container().replaceChildren(); resolve(); };
    form.onsubmit = async (event) => {
      event.preventDefault();
      const typed = form.key.value.trim();
      if (/[^\\x21-\\x7e]/.test(typed)) return showError('An API key has only ASCII letters, digits and punctuation, and no spaces.');
      const response = await send(location.pathname, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: 'Bearer ' + typed },
        body: '{"query":"{ viewer { __typename } }"}',
      }).catch(() => undefined);
      if (!response) return showError('The server cannot be reached.');
      if (!response.ok) return showError((await response.json().catch(() => undefined))?.errors?.[0]?.message
        ?? 'The API key is not valid.');
      key = typed;
      if (form.keep.checked) storage.write(key);
      resolve();
    };
  });

  window.startGraphiQL = async (options) => {
    const problem = code === undefined ? undefined : await exchange();
    key ??= problem ? undefined : storage.read();
    if (!key) await ask(problem);
    if (key) {
      const bar = show('sign-in-bar');
      bar.querySelector('[role=status]').textContent = 'Signed in with an API key, which is added to all requests.';
      bar.querySelector('button').onclick = () => { storage.clear(); location.reload(); };
    }
    const headers = key ? {} : { Authorization: placeholder };
    YogaGraphiQL.renderYogaGraphiQL(document.getElementById('root'), {
      ...options,
      headers: JSON.stringify(headers, null, 2),
      defaultEditorToolsVisibility: key ? 'variables' : 'headers',
    });
  };
})();`;
