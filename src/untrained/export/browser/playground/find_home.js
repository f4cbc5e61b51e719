// Tickets, links and QR codes of the network as it is at this moment.

function setUpHome() {}
setUpFind();
