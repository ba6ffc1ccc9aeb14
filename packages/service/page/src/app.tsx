import { useEffect, useRef } from 'preact/hooks';
import { announcement } from './announce';
import { Icon } from './parts/icon';
import { Failed, Loading } from './parts/states';
import { route, to, type View } from './route';
import { begin, may, offline, session, signedOut, signOut, unreachable } from './state';
import { EnrolView } from './views/enrol';
import { EventsView } from './views/events';
import { HealthView } from './views/health';
import { LiveView } from './views/live';
import { PeopleView } from './views/people';
import { RulesView } from './views/rules';
import { SignIn } from './views/sign-in';

const TITLES: Record<View, string> = { live: 'Live', events: 'Events', people: 'People', enrol: 'Enrol somebody', rules: 'Rules', health: 'Health' };
/** What the navigation offers; the others are reached from these. */
const PLACES = ['live', 'events', 'people', 'rules', 'health'] as const;
const PAGES: Record<View, () => preact.JSX.Element> = {
  live: LiveView,
  events: EventsView,
  people: PeopleView,
  enrol: EnrolView,
  rules: RulesView,
  health: HealthView,
};

export function App() {
  const { view } = route.value;
  const signedIn = session.value !== undefined;
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  if (signedOut.value) first.current = false;
  useEffect(() => {
    document.title = signedIn ? `${TITLES[view]} · faiss-vision` : 'faiss-vision';
    // Whoever comes by keyboard goes on where the new view begins; at the first one the browser has its own place.
    if (!first.current && signedIn) main.current?.querySelector('h1')?.focus({ preventScroll: true });
    if (signedIn) first.current = false;
    scrollTo(0, 0);
  }, [view, route.value.id, signedIn]);

  return (
    <>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        Skip to the content
      </a>
      <Header />
      <main id="main" tabIndex={-1} ref={main}>
        {unreachable.value !== undefined && !signedIn ? (
          <Failed title="The service cannot be reached" reason={unreachable.value} retry={() => void begin()} />
        ) : signedOut.value ? (
          <SignIn />
        ) : signedIn ? (
          <Page view={view} />
        ) : (
          <Loading what="the service" />
        )}
      </main>
      <div class="hidden" role="status" aria-live="polite">
        {announcement.value}
      </div>
    </>
  );
}

function Page({ view }: { view: View }) {
  const View = PAGES[view];
  // An address that somebody was given may ask for more than their token does.
  if ((view === 'people' || view === 'enrol') && !may('people')) {
    return (
      <>
        <h1 tabIndex={-1}>{TITLES[view]}</h1>
        <Failed title="Not with this token" reason="It lacks the scope people." />
      </>
    );
  }
  return <View />;
}

function Header() {
  const { view } = route.value;
  const here = view === 'enrol' ? 'people' : view;
  return (
    <header class="top">
      <span class="brand">
        <Icon name="mark" /> faiss-vision
      </span>
      {session.value && (
        <nav aria-label="Views">
          <ul>
            {PLACES.filter((place) => place !== 'people' || may('people')).map((place) => (
              <li key={place}>
                <a href={to(place)} aria-current={here === place ? 'page' : undefined}>
                  <Icon name={place} />
                  {TITLES[place]}
                </a>
              </li>
            ))}
          </ul>
        </nav>
      )}
      {session.value && (
        <div class="top-end">
          <span class={`link ${offline.value ? 'link-down' : ''}`} role="status">
            {offline.value ? 'Reconnecting' : 'Connected'}
          </span>
          {!session.value.open && (
            <button class="quiet" type="button" onClick={() => signOut()} title={`Signed in with the token ${session.value.name}`}>
              Sign out
            </button>
          )}
        </div>
      )}
    </header>
  );
}
