import { useEffect, useRef, useState } from 'preact/hooks';
import { keepToken } from '../api';
import { begin, signedOut } from '../state';

export function SignIn() {
  const [text, setText] = useState('');
  const [busy, setBusy] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  const reason = signedOut.value?.reason;
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    keepToken(text.trim());
    await begin();
    setBusy(false);
  };
  return (
    <form class="card sign-in" onSubmit={(event) => void submit(event)}>
      <h1 tabIndex={-1}>Sign in</h1>
      <p class="muted">
        This service wants a token. <code>faiss-vision serve --config FILE --add-token NAME</code> makes one.
      </p>
      <label for="token">Token</label>
      <input
        id="token"
        ref={field}
        type="password"
        autocomplete="off"
        spellcheck={false}
        required
        value={text}
        aria-invalid={reason !== undefined}
        aria-describedby="token-note"
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <p id="token-note" class={reason === undefined ? 'muted small' : 'bad'} role={reason === undefined ? undefined : 'alert'}>
        {reason ?? 'It stays in this tab, until the tab is closed.'}
      </p>
      <button class="main" type="submit" disabled={busy}>
        Sign in
      </button>
    </form>
  );
}
