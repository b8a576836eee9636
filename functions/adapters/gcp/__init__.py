"""Every port on Google Cloud: Firestore and Pub/Sub."""
