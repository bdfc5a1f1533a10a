import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Collections;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.catalog.Namespace;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.exceptions.AlreadyExistsException;
import org.apache.iceberg.exceptions.CommitFailedException;
import org.apache.iceberg.exceptions.NoSuchNamespaceException;
import org.apache.iceberg.exceptions.NoSuchTableException;
import org.apache.iceberg.jdbc.JdbcCatalog;
import org.apache.iceberg.rest.CatalogHandlers;
import org.apache.iceberg.rest.RESTSerializers;
import org.apache.iceberg.rest.RESTUtil;
import org.apache.iceberg.rest.requests.CreateNamespaceRequest;
import org.apache.iceberg.rest.requests.CreateTableRequest;
import org.apache.iceberg.rest.requests.UpdateTableRequest;
import org.apache.iceberg.rest.responses.ConfigResponse;
import org.apache.iceberg.rest.responses.ErrorResponse;
import org.apache.iceberg.shaded.com.fasterxml.jackson.annotation.JsonAutoDetect;
import org.apache.iceberg.shaded.com.fasterxml.jackson.annotation.PropertyAccessor;
import org.apache.iceberg.shaded.com.fasterxml.jackson.databind.DeserializationFeature;
import org.apache.iceberg.shaded.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.iceberg.shaded.com.fasterxml.jackson.databind.PropertyNamingStrategies;

/**
 * A REST catalog for tests: Iceberg's own CatalogHandlers over a catalog that lives as long as the process.
 *
 * <p>Start with {@code java -cp ... RestCatalogServer WAREHOUSE}. It listens on a free port of 127.0.0.1 and prints
 * that port as its first line. Table files are real files under WAREHOUSE.
 *
 * <p>{@code POST /faults} with {@code {"status": 503, "applied": false, "times": 2}} makes the next two table commits
 * answer 503: unapplied, as if refused, or applied, as if only the answer was lost. It replaces what was planned
 * before. {@code GET /commits} counts the commits that arrived, answered well or not.
 *
 * <p>The warehouse {@code guarded} is the same catalog below a prefix and behind OAuth2: client {@code id} with the
 * secret {@code hush} buys tokens, each good for {@link #USES} requests. {@code GET /tokens} counts them.
 */
public final class RestCatalogServer {
  private static final ObjectMapper JSON = new ObjectMapper();

  static {
    JSON.setVisibility(PropertyAccessor.FIELD, JsonAutoDetect.Visibility.ANY);
    JSON.configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, false);
    JSON.setPropertyNamingStrategy(new PropertyNamingStrategies.KebabCaseStrategy());
    RESTSerializers.registerAll(JSON);
  }

  /** One planned misbehaviour of a table commit. */
  record Fault(int status, boolean applied) {}

  /** What a handler gets: the groups its path matched, decoded, and the request's body. */
  record Request(Matcher path, byte[] body) {
    Namespace namespace() {
      return RESTUtil.decodeNamespace(path.group("namespace"));
    }

    TableIdentifier table() {
      return TableIdentifier.of(namespace(), RESTUtil.decodeString(path.group("table")));
    }

    <T> T as(Class<T> type) throws IOException {
      return JSON.readValue(body, type);
    }
  }

  /** A request without a token that is good. */
  static final class Unauthorized extends RuntimeException {
    Unauthorized() {
      super("no token, or one that is worn out");
    }
  }

  interface Handler {
    Object answer(Request request) throws Exception;
  }

  record Route(String method, Pattern path, Handler handler) {}

  static final class Injected extends RuntimeException {
    final int status;

    Injected(int status) {
      super("injected answer " + status);
      this.status = status;
    }
  }

  private final JdbcCatalog catalog = new JdbcCatalog();
  private final Deque<Fault> faults = new ArrayDeque<>();
  private int commits;
  /** How many requests one token is good for. */
  private static final int USES = 2;

  private static final String GUARDED = "/v1/guarded/";
  private int tokens;
  private int uses;
  private final List<Route> routes;

  private RestCatalogServer(String warehouse) {
    catalog.setConf(new Configuration());
    // One connection, because each connection to an in-memory SQLite has a database of its own.
    catalog.initialize(
        "rest",
        Map.of("uri", "jdbc:sqlite::memory:", "clients", "1", "jdbc.schema-version", "V1", "warehouse", warehouse));
    String namespaces = "/v1/namespaces";
    String namespace = namespaces + "/(?<namespace>[^/]+)";
    String table = namespace + "/tables/(?<table>[^/]+)";
    routes =
        List.of(
            route("GET", "/v1/config", r -> ConfigResponse.builder().build()),
            route("GET", "/v1/config/guarded", r -> ConfigResponse.builder().withOverride("prefix", "guarded").build()),
            route("POST", "/v1/oauth/tokens", this::sellToken),
            route("GET", "/tokens", r -> Map.of("tokens", tokens)),
            route("GET", namespaces, r -> CatalogHandlers.listNamespaces(catalog, Namespace.empty())),
            route("POST", namespaces, r -> CatalogHandlers.createNamespace(catalog, r.as(CreateNamespaceRequest.class))),
            route("GET", namespace, r -> CatalogHandlers.loadNamespace(catalog, r.namespace())),
            route("HEAD", namespace, r -> done(() -> CatalogHandlers.namespaceExists(catalog, r.namespace()))),
            route("GET", namespace + "/tables", r -> CatalogHandlers.listTables(catalog, r.namespace())),
            route("POST", namespace + "/tables", this::createTable),
            route("GET", table, r -> CatalogHandlers.loadTable(catalog, r.table())),
            route("HEAD", table, r -> done(() -> CatalogHandlers.tableExists(catalog, r.table()))),
            route("POST", table, this::commit),
            route("DELETE", table, r -> done(() -> CatalogHandlers.dropTable(catalog, r.table()))),
            route("POST", table + "/metrics", r -> null),
            route("POST", "/faults", this::planFaults),
            route("GET", "/commits", r -> Map.of("commits", commits)));
  }

  public static void main(String[] arguments) throws IOException {
    RestCatalogServer server = new RestCatalogServer(arguments[0]);
    HttpServer http = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    http.setExecutor(Executors.newFixedThreadPool(4));
    http.createContext("/", server::handle);
    http.start();
    System.out.println(http.getAddress().getPort());
  }

  private static Route route(String method, String path, Handler handler) {
    return new Route(method, Pattern.compile(path), handler);
  }

  private static Object done(Runnable effect) {
    effect.run();
    return null;
  }

  private Object createTable(Request request) throws IOException {
    CreateTableRequest wanted = request.as(CreateTableRequest.class);
    return wanted.stageCreate()
        ? CatalogHandlers.stageTableCreate(catalog, request.namespace(), wanted)
        : CatalogHandlers.createTable(catalog, request.namespace(), wanted);
  }

  private synchronized Object sellToken(Request request) {
    List<String> form = List.of(new String(request.body(), StandardCharsets.UTF_8).split("&"));
    if (!form.containsAll(List.of("grant_type=client_credentials", "client_id=id", "client_secret=hush"))) {
      throw new Unauthorized();
    }
    tokens++;
    uses = 0;
    return Map.of("access_token", "token-" + tokens, "token_type", "bearer", "expires_in", 3600);
  }

  /** The path of a request as everybody else would send it. */
  private synchronized String open(HttpExchange exchange) {
    String path = exchange.getRequestURI().getRawPath();
    if (path.equals("/v1/config") && "warehouse=guarded".equals(exchange.getRequestURI().getRawQuery())) {
      return path + "/guarded";
    }
    if (!path.startsWith(GUARDED)) {
      return path;
    }
    String given = exchange.getRequestHeaders().getFirst("Authorization");
    if (!("Bearer token-" + tokens).equals(given) || ++uses > USES) {
      throw new Unauthorized();
    }
    return "/v1/" + path.substring(GUARDED.length());
  }

  private Object planFaults(Request request) throws IOException {
    var plan = JSON.readTree(request.body());
    Fault fault = new Fault(plan.get("status").asInt(), plan.get("applied").asBoolean());
    synchronized (faults) {
      faults.clear();
      faults.addAll(Collections.nCopies(plan.get("times").asInt(), fault));
    }
    return null;
  }

  private Object commit(Request request) throws IOException {
    Fault fault;
    synchronized (faults) {
      commits++;
      fault = faults.poll();
    }
    if (fault != null && !fault.applied()) {
      throw new Injected(fault.status());
    }
    Object answer = CatalogHandlers.updateTable(catalog, request.table(), request.as(UpdateTableRequest.class));
    if (fault != null) {
      throw new Injected(fault.status());
    }
    return answer;
  }

  private Object dispatch(HttpExchange exchange) throws Exception {
    String path = open(exchange);
    for (Route route : routes) {
      Matcher matcher = route.path().matcher(path);
      if (route.method().equals(exchange.getRequestMethod()) && matcher.matches()) {
        return route.handler().answer(new Request(matcher, exchange.getRequestBody().readAllBytes()));
      }
    }
    throw new UnsupportedOperationException(exchange.getRequestMethod() + " " + path);
  }

  private static int statusOf(Exception error) {
    if (error instanceof Injected injected) {
      return injected.status;
    } else if (error instanceof Unauthorized) {
      return 401;
    } else if (error instanceof NoSuchTableException || error instanceof NoSuchNamespaceException) {
      return 404;
    } else if (error instanceof CommitFailedException || error instanceof AlreadyExistsException) {
      return 409;
    } else if (error instanceof IllegalArgumentException || error instanceof IOException) {
      return 400;
    } else if (error instanceof UnsupportedOperationException) {
      return 406;
    }
    error.printStackTrace();
    return 500;
  }

  private void handle(HttpExchange exchange) throws IOException {
    int status;
    Object answer;
    try {
      answer = dispatch(exchange);
      status = answer == null ? 204 : 200;
    } catch (Exception error) {
      status = statusOf(error);
      String message = String.valueOf(error.getMessage());
      String type = error instanceof Injected ? "InjectedException" : error.getClass().getSimpleName();
      answer = ErrorResponse.builder().responseCode(status).withType(type).withMessage(message).build();
    }
    boolean empty = answer == null || exchange.getRequestMethod().equals("HEAD");
    byte[] body = empty ? new byte[0] : JSON.writeValueAsBytes(answer);
    exchange.getResponseHeaders().set("Content-Type", "application/json");
    exchange.sendResponseHeaders(status, empty ? -1 : body.length);
    exchange.getResponseBody().write(body);
    exchange.close();
  }
}
