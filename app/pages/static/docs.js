// Swagger UI with nothing from elsewhere: no validator badge, no fonts, no topbar.
window.SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, persistAuthorization: false });
