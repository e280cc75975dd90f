"""The Flower app that carries messages between a run and its sites. It knows neither what they say nor this package."""
