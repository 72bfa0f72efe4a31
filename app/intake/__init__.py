"""Foreign bytes become `app.domain.alert.Delivery`: one module per sender, plus who may send.

Called by `app.web`. Pure: no clock, no network, no store; whatever comes in, the answer is a Delivery or BadInput.
"""
