// Shows the server's own document. Nothing leaves the machine: validatorUrl null keeps Swagger UI
// from asking a validator on the internet, and keys are not stored in the browser.
"use strict";

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
