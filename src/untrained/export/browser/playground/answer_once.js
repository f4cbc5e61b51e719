// A Worker that answers with what a function finds, so that one which takes long holds up nothing.

function answerOnce(does) {
  onmessage = ({ data }) => {
    try {
      postMessage({ found: does(...data) });
    } catch (error) {
      postMessage({ why: error.message });
    }
  };
}
