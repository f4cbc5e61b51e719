// A Worker that answers each message by what a function finds, on the port that came with the question.

function answerBy(does) {
  onmessage = ({ data, ports: [port] }) => {
    try {
      port.postMessage({ found: does(...data) });
    } catch (error) {
      port.postMessage({ why: error.message });
    }
  };
}
