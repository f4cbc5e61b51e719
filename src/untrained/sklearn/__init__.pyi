from .estimators import TicketClassifier as TicketClassifier
from .estimators import TicketRegressor as TicketRegressor
