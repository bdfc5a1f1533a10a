"""Who may call the deployed API, how often, and what is noted of it."""

import json

from template import PARAMETERS, RESOURCES, TEMPLATE, of_type, properties

ROUTES = {route["RouteKey"]: route for route in of_type("AWS::ApiGatewayV2::Route").values()}
CONDITIONS = {route["RouteKey"]: RESOURCES[name].get("Condition") for name, route in of_type("AWS::ApiGatewayV2::Route").items()}


def test_the_api_is_closed_unless_a_parameter_says_so_in_words():
    parameter = PARAMETERS["ApiAuthorization"]
    assert parameter["Default"] == "iam"
    assert set(parameter["AllowedValues"]) == {"iam", "jwt", "open-to-everyone"}
    kind = {"Fn::If": ["UsesJwt", "JWT", {"Fn::If": ["OpenToEveryone", "NONE", "AWS_IAM"]}]}
    # The greedy path does not match the root.
    assert {key: route["AuthorizationType"] for key, route in ROUTES.items()} == {
        "ANY /{proxy+}": kind,
        "ANY /": kind,
        "GET /ui": "NONE",
        "OPTIONS /{proxy+}": "NONE",
    }
    assert CONDITIONS["ANY /"] is CONDITIONS["ANY /{proxy+}"] is None
    assert CONDITIONS["OPTIONS /{proxy+}"] == "HasCorsOrigins"
    assert PARAMETERS["CorsOrigins"]["Default"] == ""


def test_the_page_opens_without_a_token_only_where_it_can_ask_for_one():
    assert CONDITIONS["GET /ui"] == "UsesJwt"
    assert TEMPLATE["Conditions"]["UsesJwt"] == {"Fn::Equals": [{"Ref": "ApiAuthorization"}, "jwt"]}


def test_tokens_are_checked_by_issuer_and_audience():
    assert RESOURCES["JwtAuthorizer"]["Condition"] == "UsesJwt"
    authorizer = properties("JwtAuthorizer")
    assert (authorizer["AuthorizerType"], authorizer["IdentitySource"]) == ("JWT", ["$request.header.Authorization"])
    assert authorizer["JwtConfiguration"] == {"Issuer": {"Ref": "JwtIssuer"}, "Audience": {"Ref": "JwtAudience"}}
    for key in ("ANY /{proxy+}", "ANY /"):
        assert ROUTES[key]["AuthorizerId"] == {"Fn::If": ["UsesJwt", {"Ref": "JwtAuthorizer"}, {"Ref": "AWS::NoValue"}]}
    rule = TEMPLATE["Rules"]["JwtNeedsIssuerAndAudience"]
    assert rule["RuleCondition"] == TEMPLATE["Conditions"]["UsesJwt"]
    assert {name for name in ("JwtIssuer", "JwtAudience") if name in json.dumps(rule["Assertions"])} == {"JwtIssuer", "JwtAudience"}


def test_requests_are_throttled():
    settings = properties("ApiStage")["DefaultRouteSettings"]
    assert settings["ThrottlingRateLimit"] == {"Ref": "ApiRequestsPerSecond"}
    assert settings["ThrottlingBurstLimit"] == {"Ref": "ApiRequestBurst"}
    assert all(PARAMETERS[name]["MinValue"] == 1 for name in ("ApiRequestsPerSecond", "ApiRequestBurst"))
    # Billed for each route, and nothing here shows them.
    assert "DetailedMetricsEnabled" not in settings


def test_every_request_is_noted_with_its_caller():
    settings = properties("ApiStage")["AccessLogSettings"]
    assert settings["DestinationArn"] == {"Fn::GetAtt": ["ApiAccessLogs", "Arn"]}
    noted = json.loads(settings["Format"])
    assert noted["caller"] == "$context.identity.userArn" and noted["subject"] == "$context.authorizer.claims.sub"
    assert {"$context.requestId", "$context.identity.sourceIp", "$context.path", "$context.status"} <= set(noted.values())


def test_only_this_api_may_invoke_its_function():
    [permission] = of_type("AWS::Lambda::Permission").values()
    assert permission["Principal"] == "apigateway.amazonaws.com"
    assert permission["SourceArn"]["Fn::Sub"].endswith(":${AWS::AccountId}:${HttpApi}/*")


def test_callers_policies_can_name_the_api():
    named = TEMPLATE["Outputs"]["ApiArn"]["Value"]["Fn::Sub"]
    assert named == properties("ApiMayBeCalledByGateway")["SourceArn"]["Fn::Sub"].removesuffix("/*")
