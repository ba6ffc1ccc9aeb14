import { render } from 'preact';
import { App } from './app';
import { begin } from './state';
import './styles/base.css';
import './styles/frame.css';
import './styles/controls.css';
import './styles/devices.css';
import './styles/live.css';
import './styles/events.css';
import './styles/people.css';
import './styles/rules.css';

render(<App />, document.getElementById('app')!);
void begin();
